//! The model's parameters by name, in an order that does not change.

use tch::Tensor;
use tch::nn::VarStore;

/// Every parameter of the store with its name, sorted by name.
pub fn named_parameters(store: &VarStore) -> Vec<(String, Tensor)> {
    let mut parameters: Vec<_> = store.variables().into_iter().collect();
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    parameters
}
