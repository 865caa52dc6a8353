// The part of the channel API that the models use.

pub struct Chan<T>(core::Channel<T>);

impl<T> Chan<T> {
    pub fn new(capacity: usize) -> Chan<T> {
        Chan(core::Channel::new(capacity))
    }

    pub fn send(&self, message: T) -> Result<(), error::SendTimeoutError<T>> {
        self.0.send(message, None)
    }

    pub fn recv(&self) -> Result<T, error::RecvTimeoutError> {
        self.0.recv(None)
    }

    pub fn try_recv(&self) -> Result<T, error::TryRecvError> {
        self.0.try_recv()
    }

    pub fn close(&self) -> bool {
        self.0.close()
    }
}

/// A select over two receivers: queues in both wait queues, waits, claims its own select state, and leaves both queues.
pub fn receive_from_either(channels: [&Chan<u32>; 2]) -> Option<u32> {
    use crate::wait::queue::SelectState;
    if let Some(message) = channels.iter().find_map(|channel| channel.try_recv().ok()) {
        return Some(message);
    }
    let (select_state, waker) = (SelectState::take(), crate::wait::WakeHandle::current());
    let mut waiters = [None, None];
    for (i, Chan(channel)) in channels.iter().enumerate() {
        let mut state = channel.state.lock();
        if state.can_recv(select_state) {
            break;
        }
        waiters[i] = Some(state.receiving.enqueue_select(None, &waker, (select_state, i + 1)));
    }
    if waiters[1].is_some() {
        while select_state.claimed() == 0 {
            let _ = crate::wait::wait_anywhere(crate::wait::WaitSpec::DEFAULT, None);
        }
    }
    select_state.claim(usize::MAX);
    let leave = |i: usize| channels[i].0.state.lock().receiving.remove(waiters[i]?).0;
    let (first, second) = (leave(0), leave(1));
    assert!(first.is_none() || second.is_none(), "a select was granted two messages");
    first.or(second)
}
