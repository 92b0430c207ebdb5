//! Every system call of the program: the only room that knows the platform.

pub mod append;
pub mod console;

pub use rustix::io::Errno;
