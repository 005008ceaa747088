"""Tasks: LightningModules that train and measure a backbone with a head."""
