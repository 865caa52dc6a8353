//! The macro `select!`: parses the arms into cases and calls `select::among`.

/// Waits until one of several operations is ready, performs it, and evaluates its arm.
///
/// ```text
/// recv(receiver) -> result => ..          result: Result<T, RecvError>
/// send(sender, message) -> result => ..   result: Result<(), SendError<T>>
/// send_from(sender, option) -> result => ..   option: &mut Option<T>, from which a chosen send takes its message
/// join(handle) -> result => ..            handle: &mut JoinHandle<T>; result: Result<T, JoinError>
/// wait(completion) -> result => ..        result: Result<&T, PromiseError>
/// notified(notify) => ..                  notify: Notify
/// cancelled(token) -> why => ..           token: CancellationToken; why: Cancellation
/// after(duration) => ..   at(instant) => ..
/// readable(fd) -> result => ..   writable(fd) -> result => ..   a descriptor (`AsFd`) is ready; result: io::Result<()>
/// default => ..                           runs if no operation is ready
/// default(duration) => ..                 runs if no operation becomes ready within `duration`
/// ```
///
/// The value of the macro is a `Result<_, Cancelled>`: `Ok` with the value of the arm, or
/// [`Cancelled`](crate::task::Cancelled) if the task was cancelled before its wait ended, if a deadline or scope around
/// the select ended the wait, or if the task would have to wait while its thread panics.
///
/// Cancel safety: a cancelled `select!` performs no operation.
///
/// `readable` and `writable` need the feature `io`, on Linux. Their arms run when the descriptor is ready, and read or write themselves;
/// the result is an error if the descriptor cannot be watched. They work in plain threads, too: see `io::readable`.
///
/// # Choice
///
/// Of several ready operations, the select chooses one at random, each with the same probability. If several operations
/// of this select wait for the same channel, a random one of them gets the message or the free slot. In a run the
/// random numbers depend only on [`Config::seed`](crate::Config::seed), so a deterministic program always makes the
/// same choices. An operation that is not chosen has no effect. A `send` that is not chosen drops its message at the
/// end of the select; a `send_from` leaves its message in the `Option`.
///
/// # Evaluation
///
/// First the arguments of all operations are evaluated, in order, and last the duration of `default`. A channel or
/// promise may be any expression that dereferences to one: the macro borrows it and does not move it. Temporaries in
/// such an expression, for example `cell.borrow()`, live until the end of the select, including its arm. Temporaries in
/// a message or a time are dropped before the wait. At most one arm may be a `default`, at any position.
///
/// The syntax is that of crossbeam-channel's `select!`, with more operations. There are two differences. The value of
/// this macro is a `Result`. And this macro evaluates every message before it waits, where crossbeam evaluates a message
/// only if its `send` is chosen. So if two arms send the same value, or one arm uses a value that another arm sends, use
/// `send_from`.
///
/// # Panics
///
/// If the select would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// use cede::{select, sync::channel};
/// use std::time::Duration;
/// let (numbers, receiver) = channel::unbounded();
/// let (_words, words) = channel::unbounded::<&str>();
/// numbers.send(42).unwrap();
/// let text = select! {
///     recv(receiver) -> number => format!("the number {}", number.unwrap()),
///     recv(words) -> word => format!("the word {}", word.unwrap()),
///     default(Duration::from_millis(1)) => "nothing".to_string(),
/// }?;
/// assert_eq!(text, "the number 42");
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)+) => { $crate::__select!(@arms [] [0] [] $($arms)+) };
    () => { compile_error!("select! needs at least one arm: the operations are recv, send, send_from, join, wait, notified, cancelled, after, at, readable, writable and default") };
}

// Parses the arms one by one: `@arms [cases so far] [number of the next case] [the default] arms`. `@body` parses the
// body of an arm and continues with `@arms`. It receives the arm's first word twice: once to match it, and once as the
// span that errors point at. Each recursion step introduces its own `case` variable, so macro hygiene keeps them
// distinct.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // All arms are parsed.
    (@arms $cases:tt $next:tt []) => {
        $crate::__select!(
            @emit $cases { $crate::sync::select::WaitMode::Until(None) }
                { unreachable!("without a deadline a case was chosen") }
        )
    };
    (@arms $cases:tt $next:tt [$op:tt () $body:tt]) => {
        $crate::__select!(@emit $cases { $crate::sync::select::WaitMode::None } { Ok($body) })
    };
    (@arms $cases:tt $next:tt [$op:tt ($time:expr $(,)?) $body:tt]) => {
        $crate::__select!(@emit $cases { $crate::sync::select::WaitMode::of($time) } { Ok($body) })
    };
    (@arms $cases:tt $next:tt [$op:tt $args:tt $body:tt]) => {
        $crate::__select!(@refuse $op $op RightArguments)
    };
    // An arm up to its body.
    (@arms $cases:tt $next:tt $default:tt $op:tt => $($rest:tt)*) => {
        $crate::__select!(@body $op $op () [] (_) $cases $next $default $($rest)*)
    };
    (@arms $cases:tt $next:tt $default:tt $op:tt($($args:tt)*) => $($rest:tt)*) => {
        $crate::__select!(@body $op $op ($($args)*) [] (_) $cases $next $default $($rest)*)
    };
    (@arms $cases:tt $next:tt $default:tt $op:tt($($args:tt)*) -> $result:pat => $($rest:tt)*) => {
        $crate::__select!(@body $op $op ($($args)*) [->] ($result) $cases $next $default $($rest)*)
    };
    (@arms $cases:tt $next:tt $default:tt $op:tt $($rest:tt)*) => {
        $crate::__select!(@refuse $op $op CompleteArm)
    };

    // The body: an expression before a comma, a block without one, or the last expression.
    (@body default $op:tt $args:tt [] $result:tt $cases:tt $next:tt [] $body:block; $($rest:tt)*) => {
        $crate::__select!(@refuse $op $op ArmWithComma)
    };
    (@body default $op:tt $args:tt [] $result:tt $cases:tt $next:tt [] $body:expr, $($rest:tt)*) => {
        $crate::__select!(@arms $cases $next [$op $args { $body }] $($rest)*)
    };
    (@body default $op:tt $args:tt [] $result:tt $cases:tt $next:tt [] $body:block $($rest:tt)*) => {
        $crate::__select!(@arms $cases $next [$op $args { $body }] $($rest)*)
    };
    (@body default $op:tt $args:tt [] $result:tt $cases:tt $next:tt [] $body:expr) => {
        $crate::__select!(@arms $cases $next [$op $args { $body }])
    };
    (@body default $op:tt $args:tt [] $result:tt $cases:tt $next:tt [$($default:tt)+] $($rest:tt)*) => {
        $crate::__select!(@refuse $op $op OnlyDefault)
    };
    (@body default $op:tt $args:tt [->] $($rest:tt)*) => {
        $crate::__select!(@refuse $op $op ArmWithResult)
    };
    (@body $word:tt $op:tt $args:tt $arrow:tt $result:tt $cases:tt $next:tt $default:tt $body:block; $($rest:tt)*) => {
        $crate::__select!(@refuse $op $op ArmWithComma)
    };
    (@body $word:tt $op:tt $args:tt $arrow:tt $result:tt [$($cases:tt)*] [$($next:tt)*] $default:tt $body:expr, $($rest:tt)*) => {
        $crate::__select!(
            @arms [$($cases)* { case [$($next)*] $op $args $result { $body } }] [$($next)* + 1] $default $($rest)*
        )
    };
    (@body $word:tt $op:tt $args:tt $arrow:tt $result:tt [$($cases:tt)*] [$($next:tt)*] $default:tt $body:block $($rest:tt)*) => {
        $crate::__select!(
            @arms [$($cases)* { case [$($next)*] $op $args $result { $body } }] [$($next)* + 1] $default $($rest)*
        )
    };
    (@body $word:tt $op:tt $args:tt $arrow:tt $result:tt [$($cases:tt)*] [$($next:tt)*] $default:tt $body:expr) => {
        $crate::__select!(@arms [$($cases)* { case [$($next)*] $op $args $result { $body } }] [$($next)* + 1] $default)
    };
    (@body $word:tt $op:tt $args:tt $arrow:tt $result:tt $cases:tt $next:tt $default:tt) => {
        $crate::__select!(@refuse $op $op CompleteArm)
    };
    (@body $word:tt $op:tt $args:tt $arrow:tt $result:tt $cases:tt $next:tt $default:tt $($rest:tt)*) => {
        $crate::__select!(@refuse $op $op ArmWithComma)
    };

    // The cases are created in the scrutinee of a `match`, so that the temporaries that they borrow from live until the
    // end of the `match`. They are bound by reference, so that they are not moved. The outer block drops the
    // temporaries at the end of the select.
    (@emit [$({ $case:ident [$($number:tt)*] $op:tt $args:tt ($result:pat) { $body:expr } })*]
        { $mode:expr } { $default:expr }) => {{
        match &mut ($($crate::__select!(@case $op $op $args),)*) {
            ($($case,)*) => {
                let mode = $mode;
                match $crate::sync::select::among(&mut [$(&mut *$case),*], mode) {
                    Err(cancelled) => Err::<_, $crate::task::Cancelled>(cancelled),
                    $(#[allow(unreachable_code, reason = "an arm may break or return")]
                    Ok(Some(chosen)) if chosen == $($number)* => {
                        let ($result,) = ($case.take(),);
                        Ok($body)
                    })*
                    #[allow(unreachable_code, reason = "an arm may break or return")]
                    Ok(_) => $default,
                }
            }
        }
    }};

    // The case of each operation. `@lent` borrows an argument; `{ .. }` drops the temporaries of an argument that is
    // not borrowed.
    (@case recv $op:tt ($receiver:expr $(,)?)) => {
        $crate::sync::channel::Receiver::case($crate::__select!(@lent $op [$crate::sync::channel::Receiver] $receiver))
    };
    (@case send $op:tt ($sender:expr, $message:expr $(,)?)) => {
        match $crate::__select!(@lent $op [$crate::sync::channel::Sender] $sender) {
            sender => $crate::sync::channel::Sender::case(sender, $message),
        }
    };
    (@case send_from $op:tt ($sender:expr, $message:expr $(,)?)) => {
        $crate::sync::channel::Sender::case_from($crate::__select!(@lent $op [$crate::sync::channel::Sender] $sender), $message)
    };
    (@case join $op:tt ($handle:expr $(,)?)) => { $crate::sync::select::join($handle) };
    (@case wait $op:tt ($completion:expr $(,)?)) => {
        $crate::sync::select::wait($crate::__select!(@lent $op [$crate::sync::Completion] $completion))
    };
    (@case notified $op:tt ($notify:expr $(,)?)) => {
        $crate::sync::Notify::case($crate::sync::select::lent::<$crate::sync::Notify>(match &($notify) { $op => $op }))
    };
    (@case cancelled $op:tt ($token:expr $(,)?)) => {
        $crate::sync::CancellationToken::case(
            $crate::sync::select::lent::<$crate::sync::CancellationToken>(match &($token) { $op => $op })
        )
    };
    (@case after $op:tt ($duration:expr $(,)?)) => {{ $crate::sync::select::after($duration) }};
    (@case at $op:tt ($deadline:expr $(,)?)) => {{ $crate::sync::select::at($deadline) }};
    (@case readable $op:tt ($fd:expr $(,)?)) => { $crate::__select_descriptor!(readable $fd) };
    (@case writable $op:tt ($fd:expr $(,)?)) => { $crate::__select_descriptor!(writable $fd) };
    (@case $word:tt $op:tt $args:tt) => { $crate::__select!(@refuse $op $op RightArguments) };
    // Borrows any expression that dereferences to `$type`. The `match` evaluates `$value` without an expected type,
    // which would reject `if a { &b } else { &c }`. It binds the arm's first word, so that a type error points there.
    (@lent $op:tt [$($type:tt)+] $value:expr) => {
        $crate::sync::select::lent::<$($type)+<_>>(match &($value) { $op => $op })
    };

    // Reports a mistake as a type error at the arm's first word: `compile_error!` could only point at the whole
    // select!. An unknown operation is reported as such, regardless of other mistakes in its arm.
    (@refuse recv $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse send $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse send_from $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse join $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse wait $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse notified $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse cancelled $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse after $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse at $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse readable $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse writable $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse default $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse $word:ident $op:tt $mistake:ident) => { $crate::__select!(@mistake $op Operation) };
    (@refuse $word:tt $op:tt $mistake:ident) => {
        compile_error!(concat!(
            "an arm of select! begins with recv, send, send_from, join, wait, notified, cancelled, after, at, readable, writable or default, not with `",
            stringify!($word),
            "`"
        ))
    };
    (@mistake $op:tt $mistake:ident) => {{
        #[allow(non_camel_case_types, reason = "named like the first word of the arm")]
        struct $op;
        $crate::sync::select::mistakes::$mistake::refuse($op)
    }};
}

/// The replacement of the macro of `io` in a build without sockets.
#[cfg(not(feature = "io"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __select_descriptor {
    ($which:ident $fd:expr) => {
        compile_error!("the arms readable and writable of select! need the feature `io` of cede")
    };
}
