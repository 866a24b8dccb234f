"""Commands on a trained run: `evaluate`, `sample`, `report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from dgmjax.cli.arguments import parse, refuse_without
from dgmjax.cli.training import prepare
from dgmjax.errors import require

if TYPE_CHECKING:
    from dgmjax.lab.experiment import Supplement


def evaluate_command(arguments: list[str]) -> None:
    """`dgmjax evaluate`."""

    def evaluate(
        run: Annotated[Path, "the run folder"],
        *,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
        other_data: Annotated[bool, "measure although the data are not those of the run"] = False,
        out: Annotated[Path | None, "file of results, in place of the run's results.json"] = None,
        ais: Annotated[bool, "add bounds by annealed importance sampling, and a figure"] = False,
        images: Annotated[int, "test images to anneal"] = 100,
        chains: Annotated[int, "annealed chains of an image"] = 16,
        temperatures: Annotated[int, "temperatures of a chain"] = 1000,
        schedule: Annotated[
            Literal["geometric", "sigmoid", "linear"], "of the temperatures from 0 to 1"
        ] = "geometric",
        start: Annotated[
            Literal["prior", "posterior"],
            "where chains start: the prior, or the encoder's q(z | x)",
        ] = "prior",
        samples: Annotated[bool, "add metrics of samples of 28x28 images, and a figure"] = False,
        num_samples: Annotated[int, "samples to draw for them"] = 10_000,
        inception_weights: Annotated[
            Path | None, "an .npz of Inception-v3 for them, of images of any size"
        ] = None,
        chosen_by: Annotated[
            Literal["rejection", "metropolis"] | None,
            "measure again with samples that the run's critic chooses",
        ] = None,
        prior_after: Annotated[
            Literal["normal", "mixture", "flow", "two_stage"] | None,
            "measure again with a prior fitted to the run's codes (with --samples, its samples)",
        ] = None,
        prior_steps: Annotated[int, "training steps of a prior that descends gradients"] = 5000,
    ) -> None:
        """Measures a trained run again and writes its results.json."""
        if not ais:
            of_chains = {"images": images, "chains": chains, "temperatures": temperatures}
            refuse_without("--ais", evaluate, **of_chains, schedule=schedule, start=start)
        if not samples and inception_weights is None:
            refuse_without("--samples", evaluate, num_samples=num_samples)
        if prior_after is None:
            refuse_without("--prior-after", evaluate, prior_steps=prior_steps)
        prepare(start_devices=True)
        from dgmjax.lab import runner
        from dgmjax.runs.diagnostics import remarks
        from dgmjax.runs.folder import RunFolder

        annealing = (images, chains, temperatures, schedule, start) if ais else None
        judged = (num_samples, inception_weights) if samples or inception_weights else None
        supplements = _supplements(annealing, judged, chosen_by)
        if prior_after is not None:
            from dgmjax.lab.priors import prior_after as after

            supplements = [after(prior_after, prior_steps, supplements)]
        loaded = runner.load_run(run, data_dir=data_dir, experiment=experiment)
        if supplements:
            records = runner.supplement(loaded, supplements, other_data=other_data)
        else:
            records = runner.evaluate(loaded, other_data=other_data)
        for line in (*(record.summary() for record in records), *remarks(records)):
            print(line)
        RunFolder(run).write_records(records, out)
        if not supplements and any((run / "figures").glob("*.png")):
            print(f"Figures are those of before; `dgmjax report {run} --draw` draws them again.")

    parse(evaluate, "evaluate", arguments)


def _supplements(
    annealing: tuple[int, int, int, str, str] | None,
    judged: tuple[int, Path | None] | None,
    chosen_by: Literal["rejection", "metropolis"] | None,
) -> list["Supplement"]:
    """What the options ask for beside the experiment's own estimators."""
    found = []
    if annealing is not None:
        from dgmjax.evaluation.annealed import Annealing
        from dgmjax.lab.annealing import annealed_bounds

        images, chains, temperatures, schedule, start = annealing
        how = Annealing(chains, temperatures, schedule, start=start)
        found.append(annealed_bounds(how, images))
    if judged is not None:
        from dgmjax.lab.sampling import sample_quality

        found.append(sample_quality(*judged))
    if chosen_by is not None:
        from dgmjax.lab.chosen import chosen_samples

        found.append(chosen_samples(chosen_by))
    return found


def sample_command(arguments: list[str]) -> None:
    """`dgmjax sample`."""

    def sample(
        run: Annotated[str, "the run folder, an exported model, or gallery:NAME"],
        *,
        num: Annotated[int, "number of samples"] = 64,
        out: Annotated[Path | None, "file: .png, .txt (text), .wav (sound), .npy or .npz"] = None,
        seed: Annotated[int, "seed of the draws"] = 0,
        label: Annotated[int | None, "class of the samples, of models with classes"] = None,
        temperature: Annotated[float, "of flows and autoregressive models; below 1, sharper"] = 1.0,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
    ) -> None:
        """Draws samples from a trained run, or from a model that comes with the package."""
        from dgmjax.lab import writing

        writing.check_ending(out)  # before JAX, the data and the parameters are loaded
        prepare(start_devices=True)
        from dgmjax.lab import exported, runner

        if exported.is_export(run):
            plain = temperature == 1.0 and label is None
            remedy = "Leave --label and --temperature out, or give a run folder."
            require(plain, "run", "must be a run folder for these options", run, remedy)
            model = exported.load_export(run)
            print(writing.write_samples_of_export(model, num=num, out=out, seed=seed))
            return
        loaded = runner.load_run(Path(run), data_dir=data_dir, experiment=experiment)
        given = {} if label is None else {"label": label}
        path = writing.write_samples(
            loaded, num=num, out=out, seed=seed, temperature=temperature, **given
        )
        print(path)

    parse(sample, "sample", arguments)


def report_command(arguments: list[str]) -> None:
    """`dgmjax report`."""

    def report(
        run: Annotated[Path, "the run folder"],
        *,
        draw: Annotated[bool, "draw the figures again, from the trained parameters"] = False,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
        out: Annotated[Path | None, "HTML file, in place of the run's report.html"] = None,
    ) -> None:
        """Writes the run's report.html: arguments, curves, figures and results in one file."""
        from dgmjax.runs.folder import RunFolder
        from dgmjax.runs.report import write_report

        folder = RunFolder(run)
        if draw:
            prepare(start_devices=True)
            from dgmjax.lab import runner

            loaded = runner.load_run(run, data_dir=data_dir, experiment=experiment)
            for name in loaded.experiment.figures:
                runner.draw_figure(loaded, folder, name)
        print(write_report(folder, out))

    parse(report, "report", arguments)
