// What the models need of a channel.

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
