//! Tests with requirements that not every machine or user meets: root, the right to mount, `perl`, `script(1)`, leases.
//! A test that cannot run reports *ignored* and the reason. Under libtest it could only pass without doing anything.

#![deny(dead_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

/// The name of a test, and the test. A test missing from its list is dead code, which is a compile error.
type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn())),*] };
}

mod attributes;
mod console;
mod groups;
mod leases;
mod limits;
mod logging;
mod mounts;
mod plans;
mod question;
mod room;
mod roots;
mod rot;
mod terminals;

#[path = "../support/mod.rs"]
mod support;

use libtest_mimic::{Arguments, Completion, Failed, Trial, run};
use std::env::var;
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;

/// Modules with the longest waits come first.
const MODULES: [(&str, &[Test]); 13] = [
    ("terminals", terminals::TESTS),
    ("console", console::TESTS),
    ("leases", leases::TESTS),
    ("rot", rot::TESTS),
    ("mounts", mounts::TESTS),
    ("roots", roots::TESTS),
    ("room", room::TESTS),
    ("question", question::TESTS),
    ("plans", plans::TESTS),
    ("limits", limits::TESTS),
    ("logging", logging::TESTS),
    ("groups", groups::TESTS),
    ("attributes", attributes::TESTS),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // As libtest does.
    let threads = var("RUST_TEST_THREADS").ok().and_then(|threads| threads.parse().ok());
    arguments.test_threads = arguments.test_threads.or(threads);
    let mut trials = Vec::new();
    for (module, tests) in MODULES {
        for (name, test) in tests.iter().copied() {
            trials.push(Trial::ignorable_test(format!("{module}::{name}"), move || attempt(test)));
        }
    }
    run(&arguments, trials).exit_code()
}

fn attempt(test: fn()) -> Result<Completion, Failed> {
    match catch_unwind(test) {
        Ok(()) => Ok(Completion::Completed),
        Err(cause) => match support::leave_out::reason(&*cause) {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => resume_unwind(cause),
        },
    }
}
