//! Prints the driver through which a run waits for I/O on this system, and why it is not io_uring where it is not.
//!
//! `cargo run --example io_driver`

use cede::net::UnixStream;
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let (mut here, mut there) = UnixStream::pair()?;
    let dump = cede::run(|| {
        let mut reader = cede::spawn(move || here.read(&mut [0]));
        cede::yield_now(); // the read waits, which makes the driver
        there.write_all(b"x")?;
        reader.join().expect("the reader does not panic")?;
        Ok::<_, std::io::Error>(cede::dump())
    })?;
    println!("{}", dump.io_driver);
    Ok(())
}
