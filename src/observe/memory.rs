//! The memory of the process, as the sampler must know it: the mapped part of a thread's own stack, and the addresses of code.

/// Returns the lowest and the highest address of the calling thread's own stack. Both are 0 if unknown.
pub(super) fn thread_bounds() -> (usize, usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: `pthread_getattr_np` initialises the attributes if it returns 0, and they are destroyed after their last use.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) == 0 {
            let (mut start, mut size) = (std::ptr::null_mut(), 0);
            libc::pthread_attr_getstack(&attributes, &mut start, &mut size);
            libc::pthread_attr_destroy(&mut attributes);
            return (start as usize, start as usize + size);
        }
    }
    (0, 0)
}

/// Returns the mapped part of a stack, up to its top. It starts at `inside`, which is in use, or below if the system says so.
/// Reads a file, so a signal handler must not call it.
pub(super) fn mapped_part(bounds: (usize, usize), inside: usize) -> (usize, usize) {
    let (lowest, top) = bounds;
    if top == 0 {
        return (0, 0);
    }
    // A sanitizer may place a local variable outside the stack.
    let inside = if (lowest..top).contains(&inside) { inside } else { top - size_of::<usize>() };
    // Without this file, a backtrace from a coroutine that main resumed has the frames of the coroutine, but not those of main.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (readable_below(&maps, top).map_or(inside, |start| start.clamp(lowest, inside)), top)
}

/// Returns the start of the readable memory that extends without a gap to the byte before `top`.
fn readable_below(maps: &str, top: usize) -> Option<usize> {
    let mut range = (0, 0);
    for line in maps.lines() {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        let is_readable = rest.starts_with('r');
        // The lines are in ascending order.
        range = match () {
            _ if !is_readable => (to, to),
            _ if from == range.1 => (range.0, to),
            _ => (from, to),
        };
        if from < top && top <= to {
            return is_readable.then_some(range.0);
        }
    }
    None
}

/// Returns the address ranges of the code of the program and its libraries.
pub(super) fn code() -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    #[cfg(target_os = "linux")]
    // SAFETY: `dl_iterate_phdr` passes valid entries and the pointer to `ranges` to the callback, and keeps neither.
    unsafe {
        unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, ranges: *mut libc::c_void) -> libc::c_int {
            // SAFETY: the loader passes a valid entry with `dlpi_phnum` headers. The last argument points to the `ranges` vector
            // of `code`, which outlives the call.
            unsafe {
                let (info, ranges) = (&*info, &mut *ranges.cast::<Vec<(usize, usize)>>());
                for header in std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) {
                    if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
                        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
                        ranges.push((start, start + header.p_memsz as usize));
                    }
                }
            }
            0
        }
        libc::dl_iterate_phdr(Some(add), (&raw mut ranges).cast());
    }
    ranges
}

/// Returns whether the address is in one of the ranges of code.
pub(super) fn is_code(ranges: &[(usize, usize)], address: usize) -> bool {
    ranges.iter().any(|&(start, end)| start <= address && address < end)
}

#[cfg(test)]
mod tests {
    use super::readable_below;

    #[test]
    fn readable_below_ends_at_gaps_and_unreadable_maps() {
        let maps = "1000-2000 rw-p 00000000 00:00 0\n2000-3000 ---p 00000000 00:00 0\n3000-4000 r--p 00000000 00:00 0\n\
                    4000-6000 rw-p 00000000 00:00 0 [stack]\n8000-9000 rw-p 00000000 00:00 0\n";
        let starts = [0x2000, 0x3000, 0x4000, 0x5800, 0x6000, 0x7000, 0x9000].map(|top| readable_below(maps, top));
        assert_eq!(starts, [Some(0x1000), None, Some(0x3000), Some(0x3000), Some(0x3000), None, Some(0x8000)]);
        assert_eq!(readable_below("", 1), None);
        assert_eq!(readable_below("what is this", 1), None);
    }
}
