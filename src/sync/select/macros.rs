//! `select!`.

/// Waits for whichever of several things comes first, does it, and evaluates its arm.
///
/// ```text
/// recv(receiver) -> result => ..          result: Result<T, RecvError>
/// send(sender, message) -> result => ..   result: Result<(), SendError<T>>
/// send_from(sender, option) -> result => ..   takes the message out of an `&mut Option<T>` only if this is chosen
/// join(handle) -> result => ..            handle: &mut JoinHandle<T>; result: Result<T, JoinError>
/// wait(completion) -> result => ..        result: Result<&T, PromiseError>
/// after(duration) => ..   at(instant) => ..
/// default => ..                           if nothing can be done at once
/// default(duration) => ..                 if nothing could be done for so long
/// ```
///
/// The value is a `Result<_, Cancelled>`: `Ok` with the arm's value, or [`Cancelled`](crate::task::Cancelled) if the task was
/// cancelled while it waited; then nothing was done. Of several operations that are ready one is chosen at random, and so it is
/// of several that wait for the same channel. The choices are the same in every run, and depend on
/// [`Config::seed`](crate::Config::seed). What is not chosen has not happened; the message of a `send` that was not chosen is
/// dropped at the end, that of a `send_from` stays where it is.
///
/// Channels, handles and messages are evaluated first, all of them, in order. A channel or promise may be any expression that
/// dereferences to one: the macro borrows it, so it is not moved. Temporaries in it, such as `cell.borrow()`, live until the
/// select is over, arm included; those in a message or a time end before the wait. At most one `default`; it may stand
/// anywhere.
///
/// The syntax is that of crossbeam-channel's `select!`, with more operations. One difference: crossbeam evaluates a message only
/// if its `send` is chosen. Two arms that send the same value, or another arm that uses it, need `send_from` here.
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
    () => { compile_error!("select! needs at least one arm: the operations are recv, send, send_from, join, wait, after, at and default") };
}

// Reads the arms one by one: `@arms [cases so far] [the number of the next] [the default] arms`. `@body` reads an arm's body,
// and goes on; it is given the arm's first word twice, once to compare it and once for errors to point at. The variable of
// each case is named by the step that reads it, so they are all different.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // All arms are read.
    (@arms $cases:tt $next:tt []) => {
        $crate::__select!(
            @emit $cases { $crate::sync::select::WaitMode::Until(None) } { unreachable!("it has no deadline") }
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
    // Up to the body
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

    // The cases are made in the scrutinee of a `match`, where temporaries that they borrow from live until its end; and are
    // bound by reference, so that they are not moved. The outer block ends the temporaries with the select.
    (@emit [$({ $case:ident [$($number:tt)*] $op:tt $args:tt ($result:pat) { $body:expr } })*]
        { $mode:expr } { $default:expr }) => {{
        match &mut ($($crate::__select!(@case $op $op $args),)*) {
            ($($case,)*) => {
                let mode = $mode;
                match $crate::sync::select::among(&mut [$(&mut *$case),*], mode) {
                    Err(cancelled) => Err::<_, $crate::task::Cancelled>(cancelled),
                    $(#[allow(unreachable_code, reason = "an arm may leave")]
                    Ok(Some(chosen)) if chosen == $($number)* => {
                        let ($result,) = ($case.take(),);
                        Ok($body)
                    })*
                    #[allow(unreachable_code, reason = "an arm may leave")]
                    Ok(_) => $default,
                }
            }
        }
    }};

    // What each operation is. `@lent` is for an argument that is borrowed, `{ .. }` ends the temporaries of one that is not.
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
    (@case after $op:tt ($duration:expr $(,)?)) => {{ $crate::sync::select::after($duration) }};
    (@case at $op:tt ($deadline:expr $(,)?)) => {{ $crate::sync::select::at($deadline) }};
    (@case $word:tt $op:tt $args:tt) => { $crate::__select!(@refuse $op $op RightArguments) };
    // A reference to anything that dereferences to `$type`. The match evaluates `$value` without the expectation that it is
    // one, which would refuse `if a { &b } else { &c }`. It binds the arm's first word so that a type error points there.
    (@lent $op:tt [$($type:tt)+] $value:expr) => {
        $crate::sync::select::lent::<$($type)+<_>>(match &($value) { $op => $op })
    };

    // A type error at the arm's first word: `compile_error!` could only point at the whole select!. An operation that does
    // not exist is named as such, whatever else is wrong with its arm.
    (@refuse recv $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse send $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse send_from $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse join $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse wait $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse after $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse at $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse default $op:tt $mistake:ident) => { $crate::__select!(@mistake $op $mistake) };
    (@refuse $word:ident $op:tt $mistake:ident) => { $crate::__select!(@mistake $op Operation) };
    (@refuse $word:tt $op:tt $mistake:ident) => {
        compile_error!(concat!(
            "an arm of select! begins with recv, send, send_from, join, wait, after, at or default, not with `",
            stringify!($word),
            "`"
        ))
    };
    (@mistake $op:tt $mistake:ident) => {{
        #[allow(non_camel_case_types, reason = "it is named as the arm begins")]
        struct $op;
        $crate::sync::select::mistakes::$mistake::refuse($op)
    }};
}
