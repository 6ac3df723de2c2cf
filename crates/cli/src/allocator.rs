//! The allocator of the whole process, libtorch included.
//!
//! libtorch asks for memory aligned to 64 bytes, and small blocks settle in what the C library cuts off for that: a freed
//! tensor's place is then too small for the next one of its size, and a training takes up to half as much memory again.
//! mimalloc keeps sizes apart. Its `malloc` stands in the executable, where the libraries find it before the C library's.
//! It is built without asking for huge pages (`no_thp`): clearing them takes longer than a short file's transcript.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Keeps freed memory for the next tensor: given back, it would be mapped and cleared anew.
pub fn keep_freed_memory() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15; // mi_option_purge_delay; below 0: never
    // SAFETY: sets a number among the allocator's options, which it documents as allowed at any time.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}
