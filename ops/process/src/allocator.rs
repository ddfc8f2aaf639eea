//! Memory that goes back to the kernel when a burst of large messages is over.

/// Buffers from this size have pages of their own, which go back when they are freed: a message of an agent has up to
/// 1 MiB, a row of the store up to 2 MiB.
const LARGE_BUFFER_BYTES: i32 = 128 << 10;

/// Has the allocator keep large buffers out of its heaps for good. To be called once, before threads are started.
///
/// By default glibc raises its threshold to the largest buffer that was ever freed (up to 32 MiB) and from then on takes
/// such buffers from heaps, of which each thread may have one and of which only the free end goes back (`mallopt(3)`,
/// `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`: "dynamic" until one of them is set). Other allocators need nothing of this.
#[allow(unsafe_code, reason = "the C library has no other way to say it")]
pub fn give_large_buffers_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES), (libc::M_TRIM_THRESHOLD, LARGE_BUFFER_BYTES)]
    {
        // SAFETY: `mallopt` takes two numbers, touches no memory of this program, and is called while the program has one
        // thread. It returns 0 for a value that it doesn't take; the default then stays, which costs memory alone.
        unsafe { libc::mallopt(parameter, value) };
    }
}
