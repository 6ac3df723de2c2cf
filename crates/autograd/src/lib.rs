//! Functions with a backward pass of their own, for tch: a closure in libtorch's graph.
//!
//! What automatic differentiation keeps of a function written in operations on tensors is every factor of every product.
//! A function that knows its own derivative keeps what it wants to, and computes the rest again.

use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch refused to record a function.
    #[error("libtorch could not record a function of its graph: {0}")]
    Record(String),
}

/// What a backward pass hands to a function.
#[derive(Debug)]
pub struct Arriving<'a> {
    /// The objective's gradient by each output; undefined where an output took no part.
    pub gradients: Vec<Tensor>,
    /// Whether the gradient by each input is asked for.
    pub wanted: &'a [bool],
}

/// What a function's backward pass gives: the objective's gradient by each input, or nothing where it is zero or was not
/// asked for; or why it failed.
pub type Gradients = Result<Vec<Option<Tensor>>, Box<dyn std::error::Error + Send + Sync>>;

/// Makes `outputs` what a function gave for `inputs`, with `backward` as its backward pass.
///
/// The outputs were computed outside the graph ([`tch::no_grad`]) and are tensors of their own, not views. Where nothing is
/// recorded, or no input has a gradient, they come back as they are. `backward` runs without recording, on whichever thread
/// walks the graph, and again where the graph was kept; it is dropped with the graph. It must keep no output, or the graph
/// would keep itself alive. What it keeps must not be changed in place before it ran: unlike for its own functions, libtorch
/// does not see that.
///
/// An error or a panic of `backward` is an error of the pass that walks the graph.
///
/// # Errors
/// An output that belongs to a graph or is a view; too little memory.
pub fn function<const N: usize>(
    inputs: &[&Tensor],
    outputs: [Tensor; N],
    backward: impl Fn(Arriving) -> Gradients + Send + 'static,
) -> Result<[Tensor; N], Error> {
    let pointers = |tensors: &mut dyn Iterator<Item = &Tensor>| {
        tensors.map(|tensor| tensor.as_ptr().cast_mut()).collect::<Vec<_>>()
    };
    let into = pointers(&mut inputs.iter().copied());
    let out = pointers(&mut outputs.iter());
    let closure: *mut Closure = Box::into_raw(Box::new(Box::new(backward)));
    let mut message = [0 as c_char; MESSAGE];
    // SAFETY: the pointers are of living tensors, in as many places as the lengths say; the closure is given with the two
    // functions that take it for what it is, and is the graph's alone from a return of 1 on.
    #[allow(unsafe_code)]
    let recorded = unsafe {
        let recorded = klang_autograd_attach(
            into.as_ptr(),
            into.len(),
            out.as_ptr(),
            out.len(),
            closure.cast(),
            walk,
            release,
            message.as_mut_ptr(),
            message.len(),
        );
        if recorded != 1 {
            drop(Box::from_raw(closure));
        }
        recorded
    };
    match recorded {
        0 | 1 => Ok(outputs),
        _ => Err(Error::Record(read(&message))),
    }
}

/// On the heap twice: a pointer to a `dyn Fn` takes two words, C has room for one.
type Closure = Box<dyn Fn(Arriving) -> Gradients + Send>;

const MESSAGE: usize = 2048;

type Walk = unsafe extern "C" fn(
    *mut c_void,
    *const *mut C_tensor,
    usize,
    *const bool,
    *mut *mut C_tensor,
    usize,
    *mut c_char,
    usize,
) -> c_int;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn klang_autograd_attach(
        inputs: *const *mut C_tensor,
        input_count: usize,
        outputs: *const *mut C_tensor,
        output_count: usize,
        closure: *mut c_void,
        backward: Walk,
        release: unsafe extern "C" fn(*mut c_void),
        message: *mut c_char,
        capacity: usize,
    ) -> c_int;

    fn klang_libtorch_version() -> *const c_char;
}

/// The version of the libtorch that this was built against, such as `2.11.0`.
pub fn libtorch_version() -> &'static str {
    // SAFETY: a string of the program's own, with its end.
    #[allow(unsafe_code)]
    let version = unsafe { CStr::from_ptr(klang_libtorch_version()) };
    version.to_str().unwrap_or_default()
}

/// Calls a closure for the graph, as function.cpp's `Backward` says.
///
/// # Safety
/// `closure` is one of [`function`]'s; `gradients` and `wanted` hold `outputs` and `inputs` entries, `results` has room for
/// `inputs`, `message` for `capacity` bytes; the gradients are the callee's from now on.
#[allow(unsafe_code)]
unsafe extern "C" fn walk(
    closure: *mut c_void,
    gradients: *const *mut C_tensor,
    outputs: usize,
    wanted: *const bool,
    results: *mut *mut C_tensor,
    inputs: usize,
    message: *mut c_char,
    capacity: usize,
) -> c_int {
    // SAFETY: as above; the slices are used up before this function returns.
    let (closure, gradients, wanted, results, message) = unsafe {
        (
            &*closure.cast::<Closure>(),
            std::slice::from_raw_parts(gradients, outputs),
            std::slice::from_raw_parts(wanted, inputs),
            std::slice::from_raw_parts_mut(results, inputs),
            std::slice::from_raw_parts_mut(message.cast::<u8>(), capacity),
        )
    };
    // SAFETY: each is a tensor on the heap that nobody else frees.
    let gradients = gradients.iter().map(|&gradient| unsafe { Tensor::from_ptr(gradient) }).collect();
    let work = || tch::no_grad(|| closure(Arriving { gradients, wanted }));
    let problem = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(found)) if found.len() == inputs => {
            for (place, gradient) in results.iter_mut().zip(found) {
                if let Some(gradient) = gradient {
                    // The graph frees it.
                    *place = ManuallyDrop::new(gradient).as_ptr().cast_mut();
                }
            }
            return 0;
        }
        Ok(Ok(found)) => format!("a function of {inputs} inputs gave {} gradients", found.len()),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("a function's backward pass panicked: {}", panicked(panic.as_ref())),
    };
    let length = problem.len().min(capacity.saturating_sub(1));
    message[..length].copy_from_slice(&problem.as_bytes()[..length]);
    if let Some(end) = message.get_mut(length) {
        *end = 0;
    }
    1
}

/// Drops a closure for the graph.
///
/// # Safety
/// `closure` is one of [`function`]'s, and nobody calls it any more.
#[allow(unsafe_code)]
unsafe extern "C" fn release(closure: *mut c_void) {
    // SAFETY: as above.
    let closure = unsafe { Box::from_raw(closure.cast::<Closure>()) };
    // A panic while dropping must not leave through C++.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(closure)));
}

fn panicked(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

fn read(message: &[c_char]) -> String {
    let bytes: Vec<u8> = message.iter().map(|&byte| byte as u8).collect();
    CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

impl From<Error> for TchError {
    fn from(error: Error) -> TchError {
        TchError::Torch(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tch::{Device, Kind};

    fn leaf(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).set_requires_grad(true)
    }

    /// x² y and x + y, with their derivatives by hand.
    fn square_times(x: &Tensor, y: &Tensor) -> [Tensor; 2] {
        let outputs = tch::no_grad(|| [x * x * y, x + y]);
        let kept = [x.detach(), y.detach()];
        function(&[x, y], outputs, move |arriving| {
            let [x, y] = &kept;
            let [product, sum] = arriving.gradients.as_slice() else { return Err("two outputs".into()) };
            let of =
                |gradient: &Tensor, slope: &Tensor| if gradient.defined() { gradient * slope } else { x.zeros_like() };
            let one = x.ones_like();
            Ok(vec![
                arriving.wanted[0].then(|| of(product, &(x * y * 2.0)) + of(sum, &one)),
                arriving.wanted[1].then(|| of(product, &(x * x)) + of(sum, &one)),
            ])
        })
        .unwrap()
    }

    #[test]
    fn gradients_are_the_closures() {
        let (x, y) = (leaf(&[2.0, -1.0]), leaf(&[3.0, 5.0]));
        let [product, sum] = square_times(&x, &y);
        let objective = (product * 10.0 + sum).sum(Kind::Double);
        let found = Tensor::run_backward(&[objective], &[&x, &y], false, false);
        // 10 × 2xy + 1 and 10 × x² + 1.
        assert_eq!(Vec::<f64>::try_from(&found[0]).unwrap(), [121.0, -99.0]);
        assert_eq!(Vec::<f64>::try_from(&found[1]).unwrap(), [41.0, 11.0]);
    }

    #[test]
    fn an_output_that_takes_no_part_has_no_gradient_and_what_does_not_learn_is_not_asked_for() {
        let (x, y) = (leaf(&[2.0]), Tensor::from_slice(&[3.0]));
        let outputs = tch::no_grad(|| [&x * &x * &y, &x + &y]);
        let [product, _] = function(&[&x, &y], outputs, |Arriving { gradients, wanted }| {
            let defined: Vec<bool> = gradients.iter().map(Tensor::defined).collect();
            if (defined.as_slice(), wanted) != (&[true, false], &[true, false]) {
                return Err(format!("{defined:?} arrived, {wanted:?} wanted").into());
            }
            Ok(vec![Some(&gradients[0] * 12.0), None])
        })
        .unwrap();
        let found = Tensor::run_backward(&[product.sum(Kind::Double)], &[&x], false, false);
        assert_eq!(Vec::<f64>::try_from(&found[0]).unwrap(), [12.0]);
    }

    #[test]
    fn a_graph_that_is_kept_is_walked_again_and_one_that_is_not_says_so() {
        let (x, y) = (leaf(&[2.0]), leaf(&[3.0]));
        let objective = square_times(&x, &y)[0].sum(Kind::Double);
        let walk = |keep| Tensor::f_run_backward(&[&objective], &[&x], keep, false);
        let first = walk(true).unwrap();
        assert!(first[0].equal(&walk(false).unwrap()[0]));
        assert!(walk(false).is_err());
    }

    #[test]
    fn outside_the_graph_nothing_is_recorded_and_the_closure_is_dropped() {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let run = |x: &Tensor| {
            let counted = Counted(dropped.clone());
            let [y] = function(&[x], [tch::no_grad(|| x * 2.0)], move |arriving| {
                let _ = &counted;
                Ok(arriving.gradients.iter().map(|gradient| Some(gradient * 2.0)).collect())
            })
            .unwrap();
            y
        };
        let x = leaf(&[1.0]);
        assert!(!run(&x.detach()).requires_grad());
        assert!(!tch::no_grad(|| run(&x)).requires_grad());
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
        let y = run(&x);
        assert_eq!((y.requires_grad(), dropped.load(Ordering::SeqCst)), (true, 2));
        let _ = Tensor::run_backward(&[y.sum(Kind::Double)], &[&x], false, false);
        assert_eq!(dropped.load(Ordering::SeqCst), 3, "a graph that was walked lets go");
        drop(run(&x));
        assert_eq!(dropped.load(Ordering::SeqCst), 4, "a graph that was not walked goes with its output");
    }

    #[test]
    fn failures_and_panics_are_errors_of_the_pass_that_walks() {
        let x = leaf(&[1.0]);
        let walk = |backward: fn(Arriving) -> Gradients| {
            let [y] = function(&[&x], [tch::no_grad(|| &x * 2.0)], backward).unwrap();
            Tensor::f_run_backward(&[y.sum(Kind::Double)], &[&x], false, false).unwrap_err().to_string()
        };
        assert!(walk(|_| Err("no derivative here".into())).contains("no derivative here"));
        assert!(walk(|_| panic!("stumbled")).contains("panicked: stumbled"));
        assert!(walk(|_| Ok(Vec::new())).contains("1 inputs gave 0 gradients"));
        assert!(walk(|_| Err("long ".repeat(2000).into())).contains("long long"));
    }

    #[test]
    fn views_and_tensors_of_a_graph_are_refused() {
        let x = leaf(&[1.0, 2.0]);
        for output in [&x * 2.0, x.detach().narrow(0, 0, 1)] {
            let refused = function(&[&x], [output], |_| Ok(vec![None])).unwrap_err();
            assert!(refused.to_string().contains("belongs to a graph already, or is a view"), "{refused}");
        }
    }

    #[test]
    fn graphs_are_walked_on_many_threads() {
        std::thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    for round in 0..50 {
                        let x = Tensor::full([8], f64::from(number * 100 + round), (Kind::Double, Device::Cpu));
                        let x = x.set_requires_grad(true);
                        let objective = square_times(&x, &x.ones_like())[0].sum(Kind::Double);
                        let found = Tensor::run_backward(&[objective], &[&x], false, false);
                        assert!(found[0].equal(&(&x.detach() * 2.0)));
                    }
                });
            }
        });
    }
}
