//! A server that falls silent: whoever can do without it waits once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use slipway_oci::{Descriptor, Digest, Reference, media_type};

use crate::support::client;

/// A server that begins to send ten bytes to everybody and never sends the last of them. It ends with the tests.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let n_asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_asked);
    thread::spawn(move || {
        let mut connections = Vec::new();
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            let lines = BufReader::new(&stream).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            // Who gave up does not get it.
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nnine byte").ok();
            connections.push(stream);
        }
    });
    (address, n_asked)
}

#[test]
fn a_server_that_falls_silent_in_the_middle_is_asked_once() {
    let (address, n_asked) = server();
    let reference: Reference = format!("{address}/app:1").parse().unwrap();
    let blob = Descriptor::new(media_type::OCI_LAYER, Digest::of(b"ten bytes."), 10);
    let impatient = client().with_silence_limit(Duration::from_millis(50));
    // A server that has much else to do may be silent from the beginning.
    let told = match impatient.blob(&reference, &blob) {
        Ok(mut bytes) => bytes.read_to_end(&mut Vec::new()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(told.ends_with("it said nothing for 50ms"), "{told}");
    let error = impatient.blob(&reference, &blob).err().unwrap();
    assert!(error.to_string().ends_with("it said nothing for 50ms"), "{error}");
    // Others judge for themselves. They are answered after who came before them.
    client().with_silence_limit(Duration::from_secs(600)).blob(&reference, &blob).unwrap();
    assert_eq!(n_asked.load(Ordering::Relaxed), 2, "the impatient one asked once");
}
