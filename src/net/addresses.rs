//! The conversion of an argument to socket addresses, or to a name that has some.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The addresses that an argument names, before a lookup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Addresses<'a> {
    /// An address.
    One(SocketAddr),
    /// Several addresses, in the order of preference.
    List(Cow<'a, [SocketAddr]>),
    /// The name of a host, which must be looked up, and a port.
    Name {
        /// The name, as getaddrinfo(3) takes it.
        host: Cow<'a, str>,
        /// The port, in host byte order.
        port: u16,
    },
}

/// A value that names socket addresses, as [`std::net::ToSocketAddrs`], implemented for the same types.
///
/// `std`'s trait looks a name up inside of its method, where only the thread can wait. A type that implements this trait returns the
/// name, and the caller looks it up on the pool of [`blocking`](crate::blocking) while other tasks run. Implement it for a type of your
/// own by a call of the method of a part:
///
/// ```
/// use cede::net::{Addresses, TcpListener, TcpStream, ToSocketAddrs};
/// use std::io;
/// struct Backend {
///     host: String,
///     port: u16,
/// }
/// impl ToSocketAddrs for Backend {
///     fn to_addresses(&self) -> io::Result<Addresses<'_>> {
///         Ok(Addresses::Name { host: self.host.as_str().into(), port: self.port })
///     }
/// }
/// cede::run(|| {
///     let listener = TcpListener::bind("localhost:0")?;
///     let backend = Backend { host: "localhost".into(), port: listener.local_addr()?.port() };
///     TcpStream::connect(&backend)?;
///     Ok::<(), io::Error>(())
/// })?;
/// # Ok::<(), io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// Returns the addresses, or the name to look up. Never waits.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the value is neither an address nor a name with a port.
    fn to_addresses(&self) -> io::Result<Addresses<'_>>;
}

impl ToSocketAddrs for SocketAddr {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        Ok(Addresses::One(*self))
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        Ok(Addresses::List(Cow::Borrowed(self)))
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        (**self).to_addresses()
    }
}

/// Implements the trait for types that have a conversion to `SocketAddr`.
macro_rules! one {
    ($($Type:ty),*) => {$(
        impl ToSocketAddrs for $Type {
            fn to_addresses(&self) -> io::Result<Addresses<'_>> {
                Ok(Addresses::One(SocketAddr::from(*self)))
            }
        }
    )*};
}

one!(SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

fn host_and_port(host: &str, port: u16) -> Addresses<'_> {
    match host.parse::<IpAddr>() {
        Ok(address) => Addresses::One(SocketAddr::new(address, port)),
        Err(_) => Addresses::Name { host: Cow::Borrowed(host), port },
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        Ok(host_and_port(self.0, self.1))
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        Ok(host_and_port(&self.0, self.1))
    }
}

impl ToSocketAddrs for str {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        if let Ok(address) = self.parse() {
            return Ok(Addresses::One(address));
        }
        let invalid = |what: &str| {
            io::Error::new(ErrorKind::InvalidInput, format!("{what} in the address {self:?}: give \"host:port\""))
        };
        let (host, port) = self.rsplit_once(':').ok_or_else(|| invalid("there is no port"))?;
        let port = port.parse().map_err(|_| invalid("the port is no number below 65,536"))?;
        Ok(host_and_port(host, port))
    }
}

impl ToSocketAddrs for String {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        self.as_str().to_addresses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(host: &str, port: u16) -> Addresses<'_> {
        Addresses::Name { host: host.into(), port }
    }

    #[test]
    fn literal_addresses_are_no_names() {
        let v4 = SocketAddr::from(([127, 0, 0, 1], 80));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
        assert_eq!("127.0.0.1:80".to_addresses().unwrap(), Addresses::One(v4));
        assert_eq!("[::1]:80".to_string().to_addresses().unwrap(), Addresses::One(v6));
        assert_eq!(("127.0.0.1", 80).to_addresses().unwrap(), Addresses::One(v4));
        assert_eq!(("::1".to_string(), 80).to_addresses().unwrap(), Addresses::One(v6));
        assert_eq!((&&v6).to_addresses().unwrap(), Addresses::One(v6));
        assert_eq!((Ipv4Addr::LOCALHOST, 80).to_addresses().unwrap(), Addresses::One(v4));
        assert_eq!([v4, v6][..].to_addresses().unwrap(), Addresses::List([v4, v6][..].into()));
    }

    #[test]
    fn names_keep_their_text() {
        assert_eq!("localhost:80".to_addresses().unwrap(), name("localhost", 80));
        assert_eq!(("a.example", 443).to_addresses().unwrap(), name("a.example", 443));
        assert_eq!("::1:80".to_addresses().unwrap(), Addresses::One("[::1]:80".parse().unwrap()));
    }

    #[test]
    fn text_without_a_port_is_invalid() {
        for text in ["localhost", "localhost:", "localhost:65536", "localhost:http", ""] {
            let error = text.to_addresses().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
