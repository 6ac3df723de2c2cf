//! klang: trainer.
