//! Compiles `function.cpp` against the headers of the libtorch that torch-sys links.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/function.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    // torch-sys names the folder of the libraries that it links, as LIBTORCH gives it (the workspace's configuration makes it
    // absolute); the headers stand beside it, unless they are elsewhere.
    let root = match (std::env::var_os("LIBTORCH_INCLUDE"), std::env::var_os("DEP_TCH_LIBTORCH_LIB")) {
        (Some(include), _) => PathBuf::from(include),
        (None, Some(libraries)) => PathBuf::from(libraries).join(".."),
        (None, None) => panic!("torch-sys did not say where libtorch is; run `cargo xtask setup` and build again"),
    };
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false) // libtorch's headers have hundreds
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .file("src/function.cpp")
        .compile("klang_autograd");
}
