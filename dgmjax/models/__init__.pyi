from .adversarial.bigan import (
    BiGAN as BiGAN,
    PairCritic as PairCritic,
)
from .adversarial.flow_gan import (
    FlowGAN as FlowGAN,
)
from .adversarial.gan import (
    GAN as GAN,
)
from .adversarial.info_gan import (
    InfoGAN as InfoGAN,
)
from .adversarial.progressive import (
    ProgressiveGAN as ProgressiveGAN,
)
from .adversarial.translation import (
    CycleGAN as CycleGAN,
    Pix2Pix as Pix2Pix,
)
from .autoregressive.coarse_to_fine import (
    CoarseToFine as CoarseToFine,
)
from .autoregressive.code_prior import (
    CodePrior as CodePrior,
)
from .autoregressive.images import (
    DiagonalBiLSTM as DiagonalBiLSTM,
    GatedPixelCNN as GatedPixelCNN,
    PixelCNN as PixelCNN,
    PixelCNNPlusPlus as PixelCNNPlusPlus,
    RowLSTM as RowLSTM,
)
from .autoregressive.made import (
    MADE as MADE,
)
from .autoregressive.model import (
    AutoregressiveModel as AutoregressiveModel,
)
from .autoregressive.recipes import (
    FVSBN as FVSBN,
    NADE as NADE,
    RNADE as RNADE,
    CharRNN as CharRNN,
    PixelLSTM as PixelLSTM,
    RecurrentModel as RecurrentModel,
    Transformer as Transformer,
    WaveNet as WaveNet,
)
from .base import (
    DensityModel as DensityModel,
    DiagonalNormal as DiagonalNormal,
    Known as Known,
    ParametricDensity as ParametricDensity,
    StandardNormal as StandardNormal,
)
from .class_conditional import (
    ClassConditional as ClassConditional,
)
from .classical.conjugate import (
    ConjugateModel as ConjugateModel,
    TopicModel as TopicModel,
)
from .classical.gaussian_mixture import (
    GaussianMixture as GaussianMixture,
)
from .classical.linear_gaussian import (
    PPCA as PPCA,
    FactorAnalysis as FactorAnalysis,
    LinearGaussian as LinearGaussian,
    ppca_maximum_likelihood as ppca_maximum_likelihood,
)
from .classical.poisson import (
    PoissonPPCA as PoissonPPCA,
)
from .diffusion.denoiser import (
    Denoised as Denoised,
    Denoiser as Denoiser,
)
from .diffusion.discrete import (
    DiscreteDiffusion as DiscreteDiffusion,
)
from .diffusion.levels import (
    DiffusedLevels as DiffusedLevels,
)
from .diffusion.mean_flow import (
    MeanFlow as MeanFlow,
)
from .energy.energy_model import (
    EnergyModel as EnergyModel,
)
from .energy.rbm import (
    RBM as RBM,
)
from .flows.dequantised import (
    Dequantised as Dequantised,
    VariationalDequantisation as VariationalDequantisation,
)
from .flows.flow import (
    Flow as Flow,
)
from .flows.image_recipes import (
    Glow as Glow,
    RealNVPImages as RealNVPImages,
)
from .flows.layers import (
    Composed as Composed,
    Fixed as Fixed,
    MultiScaleLayer as MultiScaleLayer,
    Repeated as Repeated,
    Reverse as Reverse,
)
from .flows.linear_layers import (
    ActNormLayer as ActNormLayer,
    BatchNormLayer as BatchNormLayer,
    LinearLayer as LinearLayer,
)
from .flows.network_layers import (
    CouplingLayer as CouplingLayer,
    Elementwise as Elementwise,
    MaskedAutoregressiveLayer as MaskedAutoregressiveLayer,
    ParametricLayer as ParametricLayer,
)
from .flows.parallel import (
    ParallelModel as ParallelModel,
    ParallelWaveNet as ParallelWaveNet,
)
from .flows.recipes import (
    IAF as IAF,
    MAF as MAF,
    NICE as NICE,
    MAFMixture as MAFMixture,
    NeuralSplineFlow as NeuralSplineFlow,
    PlanarFlow as PlanarFlow,
    RadialFlow as RadialFlow,
    RealNVP as RealNVP,
    SylvesterFlow as SylvesterFlow,
)
from .latent.base import (
    LatentVariableModel as LatentVariableModel,
)
from .latent.baseline import (
    WithBaseline as WithBaseline,
)
from .latent.conditional import (
    ConditionalVAE as ConditionalVAE,
    DenseCVAE as DenseCVAE,
)
from .latent.control_variate import (
    WithControlVariate as WithControlVariate,
)
from .latent.densities import (
    AR1Prior as AR1Prior,
    FullCovarianceNormal as FullCovarianceNormal,
    NormalMixture as NormalMixture,
    PointMass as PointMass,
    SphericalUniform as SphericalUniform,
    VampPrior as VampPrior,
    VonMisesFisher as VonMisesFisher,
    WrappedNormal as WrappedNormal,
)
from .latent.discrete import (
    DiscreteVAE as DiscreteVAE,
    FactorisedPrior as FactorisedPrior,
    SigmoidBeliefNetwork as SigmoidBeliefNetwork,
)
from .latent.draw import (
    DRAW as DRAW,
)
from .latent.hamiltonian import (
    Hamiltonian as Hamiltonian,
)
from .latent.hierarchical import (
    DenseHierarchicalVAE as DenseHierarchicalVAE,
    HierarchicalVAE as HierarchicalVAE,
    TwoLayerVAE as TwoLayerVAE,
)
from .latent.judged import (
    VAEGAN as VAEGAN,
    AdversarialAutoencoder as AdversarialAutoencoder,
    FactorVAE as FactorVAE,
    JudgedVAE as JudgedVAE,
)
from .latent.multimodal import (
    ImageLabelVAE as ImageLabelVAE,
    Modality as Modality,
    MultimodalVAE as MultimodalVAE,
)
from .latent.recipes import (
    ConvVAE as ConvVAE,
    DeltaVAE as DeltaVAE,
    PixelVAE as PixelVAE,
    SkipVAE as SkipVAE,
)
from .latent.second_stage import (
    Marginal as Marginal,
    SecondStage as SecondStage,
    Standardised as Standardised,
    WithPrior as WithPrior,
)
from .latent.semi_supervised import (
    SemiSupervisedVAE as SemiSupervisedVAE,
)
from .latent.uncertainty import (
    DenseUAE as DenseUAE,
    UncertaintyAutoencoder as UncertaintyAutoencoder,
)
from .latent.vae import (
    VAE as VAE,
    DenseVAE as DenseVAE,
)
from .latent.very_deep import (
    VeryDeepVAE as VeryDeepVAE,
)
from .latent.vq_vae import (
    VQVAE as VQVAE,
    VQVAE2 as VQVAE2,
    HierarchicalVQVAE as HierarchicalVQVAE,
    Level as Level,
)
from .latent.vrnn import (
    VRNN as VRNN,
)
from .teacher import (
    Teacher as Teacher,
)
