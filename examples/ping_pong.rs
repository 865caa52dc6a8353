//! Two tasks pass a ball back and forth through two channels: `cargo run --example ping_pong`.

use cede::spawn;
use cede::sync::channel::{Receiver, Sender, rendezvous};

fn play(name: &'static str, ball_in: &Receiver<u32>, ball_out: &Sender<u32>) {
    // Ends when the other player has left, or when this player receives the last ball.
    for ball in ball_in {
        println!("{name} {ball}");
        if ball == 6 || ball_out.send(ball + 1).is_err() {
            break;
        }
    }
    println!("{name} goes home");
}

fn main() {
    cede::run(|| {
        let (to_ping, for_ping) = rendezvous();
        let (to_pong, for_pong) = rendezvous();
        let serve = to_ping.clone();
        let mut ping = spawn(move || play("ping", &for_ping, &to_pong));
        let mut pong = spawn(move || play("pong", &for_pong, &to_ping));
        serve.send(1).expect("ping receives");
        drop(serve);
        ping.join().unwrap();
        pong.join().unwrap();
    });
}
