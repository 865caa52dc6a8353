//! The compiler's error messages for a malformed `select!`.
//!
//! No type implements these traits. For a malformed arm the macro requires an implementation by a type that is named
//! like the arm's first word. The compiler then shows the message below that word.

macro_rules! mistakes {
    ($($(#[$attribute:meta])+ $name:ident;)+) => { $(
        #[doc(hidden)]
        #[allow(missing_docs, reason = "hidden: the attribute below is its documentation")]
        $(#[$attribute])+
        pub trait $name {
            fn refuse<R>(_: Self) -> R;
        }
    )+ };
}

mistakes! {
    #[diagnostic::on_unimplemented(
        message = "select! has no such operation",
        label = "not an operation of select!",
        note = "the operations are recv, send, send_from, join, wait, notified, cancelled, after, at, readable, writable and default"
    )]
    Operation;

    #[diagnostic::on_unimplemented(
        message = "wrong number of arguments in an arm of select!",
        label = "this operation takes other arguments",
        note = "recv(receiver), send(sender, message), send_from(sender, &mut option), join(&mut handle), wait(completion), \
                after(duration), at(instant), readable(fd), writable(fd), default, default(duration)"
    )]
    RightArguments;

    #[diagnostic::on_unimplemented(
        message = "incomplete arm of select!",
        label = "in the arm that begins here",
        note = "an arm is `operation(arguments) -> pattern => expression,`; `-> pattern` may be omitted, and \
                must be omitted with default and default(duration)"
    )]
    CompleteArm;

    #[diagnostic::on_unimplemented(
        message = "missing comma between two arms of select!",
        label = "after the expression of the arm that begins here",
        note = "the comma may be omitted only after a block"
    )]
    ArmWithComma;

    #[diagnostic::on_unimplemented(
        message = "`default` of select! has no result",
        label = "in the arm that begins here",
        note = "write `default => expression` or `default(duration) => expression`, without `-> pattern`"
    )]
    ArmWithResult;

    #[diagnostic::on_unimplemented(
        message = "select! has at most one `default`",
        label = "this is the second one",
        note = "`default` runs if no operation is ready, `default(duration)` if none becomes ready within the duration"
    )]
    OnlyDefault;
}
