"""Everything that a machine without a network needs to install, test and measure dgmjax."""
