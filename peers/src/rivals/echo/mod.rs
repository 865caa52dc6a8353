//! TCP echo servers. Each sends what it reads back to its peer, with `TCP_NODELAY`, and reads into 16 KiB of its own for each
//! connection unless its name or file says otherwise. Each listens on a free port of 127.0.0.1, which it tells the parent.

mod cede;
mod compio;
mod foreign;
mod may;
mod monoio;
mod smol;
mod threads;
mod tokio;

use super::{Rival, Role};
use crate::area::Area;

/// The bytes of a buffer.
const BUFFER: usize = 16 * 1024;
/// The bytes of a stack.
const STACK: usize = 64 * 1024;
/// Any free port.
const ADDRESS: (&str, u16) = ("127.0.0.1", 0);

const ECHO: &[Area] = &[Area::Echo];

pub(super) static RIVALS: [Rival; 14] = [
    Rival::own("cede", Role::Cede, ECHO, cede::own_buffer),
    Rival::own("cede, lend", Role::Variant, ECHO, cede::lend),
    Rival::own("cede, epoll", Role::Variant, ECHO, cede::own_buffer_by_epoll),
    Rival::own("cede, epoll, lend", Role::Variant, ECHO, cede::lend_by_epoll),
    Rival { role: Role::Raw, ..Rival::foreign(super::RAW_EPOLL, ECHO, foreign::epoll) },
    Rival { role: Role::Raw, ..Rival::foreign("raw io_uring", ECHO, foreign::io_uring) },
    Rival::own("tokio current_thread", Role::Rival, ECHO, tokio::echo),
    Rival::own("may", Role::Rival, ECHO, may::echo),
    Rival::own("smol LocalExecutor", Role::Rival, ECHO, smol::echo),
    Rival::own("monoio", Role::Rival, ECHO, monoio::as_it_comes),
    Rival::own("monoio, deferred", Role::Rival, ECHO, monoio::deferred),
    Rival::own("compio", Role::Rival, ECHO, compio::echo),
    Rival::own("threads", Role::Threads, ECHO, threads::echo),
    Rival::foreign("Go", ECHO, foreign::go),
];
