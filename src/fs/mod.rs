//! Every system call of the program: the only room that knows the platform.

pub mod clock;
pub mod place;

pub use rustix::io::Errno;
