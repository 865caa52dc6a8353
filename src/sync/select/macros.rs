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
/// cancelled while it waited; then nothing was done. Of several things that are ready one is chosen at random, in the same way
/// in every run. What is not chosen has not happened; the message of a `send` that was not chosen is dropped at the end, that of
/// a `send_from` stays where it is.
///
/// Channels, handles and messages are evaluated first, all of them, in order. At most one `default`; it may stand anywhere.
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
    ($($arms:tt)+) => { $crate::__select!(@parse [] [0] [] $($arms)+) };
}

// [cases so far] [the number of the next] [the default] and what is left to read. Each case's variable is named by the step
// that reads it, so they are all different.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // default
    (@parse [$($cases:tt)*] [$($next:tt)*] [] default => $body:block $($rest:tt)*) => {
        $crate::__select!(@comma [$($cases)*] [$($next)*] [{ $crate::sync::select::Patience::None } { Ok($body) }] $($rest)*)
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [] default => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse [$($cases)*] [$($next)*] [{ $crate::sync::select::Patience::None } { Ok($body) }] $($($rest)*)?)
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [] default($time:expr) => $body:block $($rest:tt)*) => {
        $crate::__select!(
            @comma [$($cases)*] [$($next)*] [{ $crate::sync::select::Patience::of($time) } { Ok($body) }] $($rest)*
        )
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [] default($time:expr) => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(
            @parse [$($cases)*] [$($next)*] [{ $crate::sync::select::Patience::of($time) } { Ok($body) }] $($($rest)*)?
        )
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [$($default:tt)+] default $($rest:tt)*) => {
        compile_error!("a select! may have one `default`")
    };
    // a case with a result
    (@parse [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] $op:ident($($args:tt)*) -> $result:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(
            @comma [$($cases)* { case [$($next)*] ($crate::__select!(@case $op $($args)*)) ($result) { $body } }] [$($next)* + 1]
            [$($default)*] $($rest)*
        )
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] $op:ident($($args:tt)*) -> $result:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(
            @parse [$($cases)* { case [$($next)*] ($crate::__select!(@case $op $($args)*)) ($result) { $body } }] [$($next)* + 1]
            [$($default)*] $($($rest)*)?
        )
    };
    // a case without one
    (@parse [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] $op:ident($($args:tt)*) => $body:block $($rest:tt)*) => {
        $crate::__select!(
            @comma [$($cases)* { case [$($next)*] ($crate::__select!(@case $op $($args)*)) (_) { $body } }] [$($next)* + 1]
            [$($default)*] $($rest)*
        )
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] $op:ident($($args:tt)*) => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(
            @parse [$($cases)* { case [$($next)*] ($crate::__select!(@case $op $($args)*)) (_) { $body } }] [$($next)* + 1]
            [$($default)*] $($($rest)*)?
        )
    };
    // After a block the comma may be left out.
    (@comma [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] , $($rest:tt)*) => {
        $crate::__select!(@parse [$($cases)*] [$($next)*] [$($default)*] $($rest)*)
    };
    (@comma [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] $($rest:tt)*) => {
        $crate::__select!(@parse [$($cases)*] [$($next)*] [$($default)*] $($rest)*)
    };
    // all read
    (@parse [$($cases:tt)*] [$($next:tt)*] []) => {
        $crate::__select!(
            @emit [$($cases)*] { $crate::sync::select::Patience::Until(None) } { unreachable!("it has no deadline") }
        )
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [{ $patience:expr } { $default:expr }]) => {
        $crate::__select!(@emit [$($cases)*] { $patience } { $default })
    };
    (@emit [$({ $case:ident [$($number:tt)*] ($make:expr) ($result:pat) { $body:expr } })*] { $patience:expr } { $default:expr }) => {{
        $(let mut $case = $make;)*
        match $crate::sync::select::among(&mut [$(&mut $case),*], $patience) {
            Err(cancelled) => Err::<_, $crate::task::Cancelled>(cancelled),
            $(#[allow(unreachable_code, reason = "an arm may leave")]
            Ok(Some(chosen)) if chosen == $($number)* => {
                let $result = $case.take();
                Ok($body)
            })*
            #[allow(unreachable_code, reason = "an arm may leave")]
            Ok(_) => $default,
        }
    }};
    // what each operation is
    (@case recv $receiver:expr) => { $crate::sync::channel::Receiver::case(&$receiver) };
    (@case send $sender:expr, $message:expr) => { $crate::sync::channel::Sender::case(&$sender, $message) };
    (@case send_from $sender:expr, $message:expr) => { $crate::sync::channel::Sender::case_from(&$sender, $message) };
    (@case join $handle:expr) => { $crate::sync::select::join($handle) };
    (@case wait $completion:expr) => { $crate::sync::select::wait(&$completion) };
    (@case after $duration:expr) => { $crate::sync::select::after($duration) };
    (@case at $deadline:expr) => { $crate::sync::select::at($deadline) };
    (@case $op:ident $($args:tt)*) => {
        compile_error!(concat!("a select! cannot `", stringify!($op), "`: it knows recv, send, send_from, join, wait, after, at and default"))
    };
    (@parse [$($cases:tt)*] [$($next:tt)*] [$($default:tt)*] $($rest:tt)+) => {
        compile_error!("expected an arm of select!, such as `recv(receiver) -> message => expression,`")
    };
}
