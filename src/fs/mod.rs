//! Every system call of the program: the only room that knows the platform.

pub use rustix::io::Errno;
