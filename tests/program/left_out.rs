//! Features left out by design, seen from outside.

use crate::support::scratch::Scratch;
use std::os::unix::net::UnixListener;

#[test]
fn a_file_that_became_a_socket_goes_from_the_replica() {
    let place = Scratch::with_source();
    place.write("source/run", "a file");
    place.sync();
    assert!(place.has("replica/run"));
    place.remove("source/run");
    let _socket = UnixListener::bind(place.at("source/run")).expect("a socket");
    let told = place.sync().stdout;
    assert!(told.contains("skip run (sockets are not mirrored)"), "{told}");
    assert!(told.contains("delete run 6 B"), "{told}");
    assert!(!place.has("replica/run"));
    let told = place.sync().stdout;
    assert!(told.contains(" 0 deleted, 0 unchanged, 1 skipped, 0 problems"), "{told}");
}
