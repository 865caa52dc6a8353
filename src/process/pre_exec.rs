//! The option of a command that runs code between fork and exec.

use super::Command;
use std::io;
use std::os::unix::process::CommandExt;

impl Command {
    /// Sets a closure that runs in the child process before the program starts, as
    /// [`CommandExt::pre_exec`](std::os::unix::process::CommandExt::pre_exec). Its error is that of the start.
    ///
    /// # Safety
    ///
    /// The closure runs in a child of fork(2), which has no other thread. It must call only async-signal-safe functions, so it must
    /// neither allocate nor take a lock, nor wait for anything of this library.
    pub unsafe fn pre_exec(&mut self, f: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> &mut Command {
        // SAFETY: the caller ensures what `CommandExt::pre_exec` asks for.
        unsafe { self.as_std_mut().pre_exec(f) };
        self
    }
}
