//! `tally`: reads text on standard input and prints how often each word occurs, as JSON.

use std::io::{self, Read};

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("tally {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    println!("{}", serde_json::to_string(&tally::tally(&text))?);
    Ok(())
}
