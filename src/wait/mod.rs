//! The waiting layer: what every blocking type is made of.

pub(crate) mod lock;
pub(crate) mod wake_list;
