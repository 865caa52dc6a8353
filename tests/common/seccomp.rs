//! System calls that fail, by seccomp(2). An emulator installs no filters.

/// An argument of a system call: its index, and the value of its low 32 bits.
type Argument = (u32, u32);

/// Makes the system call `number` fail with `error` in this thread and in the threads that it starts, permanently.
pub(crate) fn refuse(number: libc::c_long, error: i32) {
    refuse_if(number, &[], error);
}

/// Like [`refuse`], but only if the system call has these arguments.
pub(crate) fn refuse_if(number: libc::c_long, arguments: &[Argument], error: i32) {
    let statement = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    // Each comparison jumps to the last statement if the values differ.
    let jump = |value, rest: usize| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, rest as u8);
    // The number is the first field of the data. The arguments have 64 bits and begin at 16.
    let mut filter = vec![load(0), jump(number as u32, 2 * arguments.len() + 1)];
    for (position, (index, value)) in arguments.iter().enumerate() {
        let offset = 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 };
        filter.extend([load(offset), jump(*value, 2 * (arguments.len() - position) - 1)]);
    }
    filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0));
    filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points to `filter`, which lives as long as the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
