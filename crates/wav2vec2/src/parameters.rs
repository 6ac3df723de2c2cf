//! A model's parameters by name: allocated, shared with another model's, or only declared.
//!
//! A path is a name in the checkpoint: `root / "encoder" / "layers" / 3` names what stands under `encoder.layers.3`.

use std::collections::BTreeMap;
use std::ops::Div;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::int8::Int8Linear;

/// The parameters of one model.
#[derive(Debug)]
pub struct Store {
    device: Device,
    origin: Origin,
    tensors: Mutex<BTreeMap<String, Tensor>>,
    affine: Arc<Mutex<BTreeMap<String, Affine>>>, // by path; one for all stores that share
}

/// Weights of an affine map or a convolution, and what becomes of them in 8 bits.
#[derive(Debug)]
struct Affine {
    weight: Tensor,       // (output, input) or (output, input, kernel)
    bias: Option<Tensor>, // (output)
    int8: Arc<OnceLock<Int8Linear>>,
}

/// Where the tensors of a store come from.
#[derive(Debug)]
enum Origin {
    /// Zeros.
    Fresh,
    /// Another store's memory.
    Shared(BTreeMap<String, Tensor>),
    /// Nowhere: a tensor of the right shape over a single number.
    Declared,
}

impl Store {
    /// An empty store whose parameters will be zeros on `device`: [`crate::initialise`] or a checkpoint fills them.
    pub fn new(device: Device) -> Store {
        Store { device, origin: Origin::Fresh, tensors: Mutex::default(), affine: Arc::default() }
    }

    /// An empty store whose parameters will be those of `original` by name: what changes one of them changes both.
    /// Gradients stay apart.
    pub fn sharing(original: &Store) -> Store {
        let tensors = original.named().into_iter().collect();
        Store {
            device: original.device,
            origin: Origin::Shared(tensors),
            tensors: Mutex::default(),
            affine: original.affine.clone(),
        }
    }

    /// An empty store that takes no memory for its parameters, for asking a model built on it for names and shapes. A
    /// forward pass on it computes nothing of use.
    pub fn declaring() -> Store {
        Store { device: Device::Cpu, origin: Origin::Declared, tensors: Mutex::default(), affine: Arc::default() }
    }

    /// The path of all names.
    pub fn root(&self) -> Path<'_> {
        Path { store: self, name: Arc::from("") }
    }

    /// Every tensor with its name, sorted by name: parameters, which are floating, and buffers.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let tensors = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Rounds the weights of every affine map and convolution of at least 64 inputs and outputs to 8 bits, for this model
    /// and all that share its store: evaluation computes with them from now on, whatever becomes of the parameters. To be
    /// called when they are filled; the numbers of those weights are given up, and [`Store::named`] has zeros for them.
    ///
    /// # Errors
    /// A libtorch without 8-bit products, or too little memory.
    pub fn to_int8(&self) -> Result<()> {
        let mut affine = self.affine.lock().unwrap_or_else(PoisonError::into_inner);
        // A narrower map costs nothing to speak of, and has few terms for its errors to average over.
        let wide = |map: &&mut Affine| map.weight.size().iter().take(2).all(|&size| size >= 64);
        for map in affine.values_mut().filter(wide).filter(|map| map.int8.get().is_none()) {
            let _ = map.int8.set(Int8Linear::new(&map.weight, map.bias.as_ref())?);
            // Every handle to the weight sees this: its memory is free for the activations.
            tch::no_grad(|| map.weight.f_set_data(&nothing(&map.weight.size(), (Kind::Float, self.device))?))?;
        }
        Ok(())
    }

    fn add(&self, name: String, shape: &[i64], kind: Kind, learns: bool) -> Result<Tensor> {
        let tensor = match &self.origin {
            Origin::Fresh => Tensor::f_zeros(shape, (kind, self.device))?,
            Origin::Declared => nothing(shape, (kind, self.device))?,
            Origin::Shared(tensors) => match tensors.get(&name) {
                Some(tensor) if tensor.size() == shape => tensor.f_detach()?,
                _ => return Err(Error::Store { name, problem: "is not in the store that this one shares".into() }),
            },
        };
        let tensor = if learns { tensor.f_set_requires_grad(true)? } else { tensor };
        let mut tensors = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        if tensors.insert(name.clone(), tensor.shallow_clone()).is_some() {
            return Err(Error::Store { name, problem: "is registered twice".into() });
        }
        Ok(tensor)
    }
}

/// Zeros of any shape over the memory of a single one.
fn nothing(shape: &[i64], options: (Kind, Device)) -> std::result::Result<Tensor, tch::TchError> {
    Tensor::f_zeros(vec![1; shape.len()], options)?.f_expand(shape, false)
}

/// A place in a store, by its dotted name.
#[derive(Clone, Debug)]
pub struct Path<'a> {
    store: &'a Store,
    name: Arc<str>,
}

impl<'a, T: ToString> Div<T> for &Path<'a> {
    type Output = Path<'a>;

    fn div(self, part: T) -> Path<'a> {
        let part = part.to_string();
        let name = if self.name.is_empty() { part } else { format!("{}.{part}", self.name) };
        Path { store: self.store, name: name.into() }
    }
}

impl<'a, T: ToString> Div<T> for Path<'a> {
    type Output = Path<'a>;

    fn div(self, part: T) -> Path<'a> {
        &self / part
    }
}

impl Path<'_> {
    /// A trainable fp32 tensor under this path.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn parameter(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.store.add((self / name).name.to_string(), shape, Kind::Float, true)
    }

    /// Says that `weight`, (output, input) or (output, input, kernel), and `bias` (output) under this path make an affine
    /// map or a convolution. What is returned is filled by [`Store::to_int8`].
    pub(crate) fn affine(&self, weight: &Tensor, bias: Option<&Tensor>) -> Arc<OnceLock<Int8Linear>> {
        let mut affine = self.store.affine.lock().unwrap_or_else(PoisonError::into_inner);
        let map = affine.entry(self.name.to_string()).or_insert_with(|| Affine {
            weight: weight.shallow_clone(),
            bias: bias.map(Tensor::shallow_clone),
            int8: Arc::default(),
        });
        map.int8.clone()
    }

    /// A tensor under this path that belongs to the model and does not learn.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn buffer(&self, name: &str, shape: &[i64], kind: Kind) -> Result<Tensor> {
        self.store.add((self / name).name.to_string(), shape, kind, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_name_in_the_checkpoint() {
        let store = Store::new(Device::Cpu);
        let layer = store.root() / "encoder" / "layers" / 3;
        let _ = layer.parameter("weight", &[2, 3]).unwrap();
        let _ = (&layer / "norm").buffer("count", &[], Kind::Int64).unwrap();
        let names: Vec<String> = store.named().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["encoder.layers.3.norm.count", "encoder.layers.3.weight"]);
        assert!(layer.parameter("weight", &[2, 3]).unwrap_err().to_string().contains("encoder.layers.3.weight"));
    }

    #[test]
    fn a_declared_parameter_has_a_shape_and_no_memory() {
        let store = Store::declaring();
        // 4 TiB, were it there.
        let tensor = store.root().parameter("weight", &[1 << 20, 1 << 20]).unwrap();
        assert_eq!(tensor.size(), [1 << 20, 1 << 20]);
    }

    #[test]
    fn a_rounded_weight_gives_its_memory_up() {
        if !crate::has_int8() {
            return;
        }
        let store = Store::new(Device::Cpu);
        let [wide, narrow] = [96, 8].map(|width| {
            let path = store.root() / width;
            crate::Linear::new(&path, width, width).unwrap()
        });
        tch::no_grad(|| store.named().into_iter().for_each(|(_, mut tensor)| _ = tensor.uniform_(-1.0, 1.0)));
        let input = Tensor::rand([3, 96], (Kind::Float, Device::Cpu));
        let (exact, narrow_input) = (wide.forward(&input).unwrap(), input.narrow(1, 0, 8));
        let kept = narrow.forward(&narrow_input).unwrap();
        store.to_int8().unwrap();
        let strides = |name: &str| store.named().into_iter().find(|(other, _)| other == name).unwrap().1.stride();
        assert_eq!(strides("96.weight"), [0, 0], "nothing lies behind it");
        assert_eq!(strides("8.weight"), [8, 1]);
        assert!(narrow.forward(&narrow_input).unwrap().equal(&kept));
        // 96 products of numbers below 1, each factor off by 1/126 and 1/510 at most.
        let off = (wide.forward(&input).unwrap() - exact).abs().max().double_value(&[]);
        assert!(off < 96.0 * (1.0 / 126.0 + 1.0 / 510.0), "{off}");
    }

    #[test]
    fn a_shared_parameter_is_the_same_memory_with_gradients_of_its_own() {
        let original = Store::new(Device::Cpu);
        let first = original.root().parameter("weight", &[2]).unwrap();
        let second = Store::sharing(&original).root().parameter("weight", &[2]).unwrap();
        (&second * 3.0).sum(Kind::Float).backward();
        let _ = tch::no_grad(|| first.shallow_clone().fill_(5.0));
        assert_eq!(second.double_value(&[1]), 5.0);
        assert!(!first.grad().defined() && second.grad().defined());
        let message = Store::sharing(&original).root().parameter("bias", &[2]).unwrap_err().to_string();
        assert!(message.contains("bias"), "{message}");
    }
}
