//! Every example of this member runs and prints its transcript.

use std::fs::{read_dir, read_to_string};
use std::path::Path;
use std::process::Command;

fn check(name: &str) {
    let test = std::env::current_exe().expect("a test knows its own path");
    let program = test.parent().and_then(Path::parent).expect("tests are in PROFILE/deps").join("examples").join(name);
    let output = Command::new(program).output().expect("the example was built with the tests");
    let transcript = format!("{}/tests/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, read_to_string(transcript).expect("there is a transcript"), "{name}: {errors}");
    assert!(output.status.success() && errors.is_empty(), "{name}: {}: {errors}", output.status);
}

#[test]
fn tokio_inside() {
    check("tokio_inside");
}

#[test]
fn cede_inside_tokio() {
    check("cede_inside_tokio");
}

#[test]
fn serde_from_async() {
    check("serde_from_async");
}

#[test]
fn generator_stream() {
    check("generator_stream");
}

#[test]
fn every_example_is_tested() {
    let tests = include_str!("examples.rs");
    for entry in read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(tests.contains(&format!("check(\"{name}\")")), "examples/{name} is not tested");
        assert!(read_to_string(&path).unwrap().starts_with("//! "), "examples/{name} does not say what it shows");
    }
}
