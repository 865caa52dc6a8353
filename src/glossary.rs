//! The words with a fixed meaning: run, task, turn, wait, park, section, stall, grace period and the rest.
//!
// The first definition of a link counts. The file has its own, to the source, for readers outside of rustdoc.
//! [`cede::run`]: crate::run()
//! [`Config::run`]: crate::Config::run
//! [`Config::report_slow_turns`]: crate::Config::report_slow_turns
//! [`Config::report_stall`]: crate::Config::report_stall
//! [`Config::seed`]: crate::Config::seed
//! [`Config::workers`]: crate::Config::workers
//! [`Config::closed_world`]: crate::Config::closed_world
//! [`Config::shutdown_grace`]: crate::Config::shutdown_grace
//! [`RunError::Deadlock`]: crate::RunError::Deadlock
//! [`spawn`]: crate::spawn
//! [`yield_now`]: crate::yield_now
//! [`JoinHandle::on_done`]: crate::JoinHandle::on_done
//! [`JoinHandle::cancel`]: crate::JoinHandle::cancel
//! [`Cancelled`]: crate::task::Cancelled
//! [`Unparker`]: crate::task::Unparker
//! [`task::park`]: crate::task::park()
//! [`scope`]: crate::scope
//! [`timeout`]: crate::timeout
//! [`deadline`]: crate::task::deadline
//! [`shield`]: crate::shield
//! [`no_suspend`]: crate::no_suspend
//! [`sync`]: crate::sync
//! [`Generator`]: crate::Generator
//! [`Yielder::yield_`]: crate::Yielder::yield_
//! [`Coroutine`]: crate::Coroutine
//! [`Sink`]: crate::Sink
//!
#![doc = include_str!("../docs/glossary.md")]
