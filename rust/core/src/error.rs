//! Errors, in Python's kinds.

use std::fmt;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An error, with the whole message for the user. The message names the layer or argument, what was expected and what
/// came: `linear: expected input of shape (*, 784); got (32, 28)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A value or shape is wrong: `ValueError`.
    Value(String),
    /// A type or dtype is wrong: `TypeError`.
    Type(String),
    /// The call came at the wrong time, such as a second backward: `RuntimeError`.
    State(String),
    /// An index lies outside: `IndexError`.
    Index(String),
    /// An integer is divided by 0: `ZeroDivisionError`.
    ZeroDivision(String),
    /// There is not that much memory: `MemoryError`.
    Memory(String),
}

impl Error {
    /// A wrong value or shape.
    pub fn value(message: impl Into<String>) -> Self {
        Self::Value(message.into())
    }

    /// A wrong type or dtype.
    pub fn dtype(message: impl Into<String>) -> Self {
        Self::Type(message.into())
    }

    /// A call at the wrong time.
    pub fn state(message: impl Into<String>) -> Self {
        Self::State(message.into())
    }

    /// An index outside its range.
    pub fn index(message: impl Into<String>) -> Self {
        Self::Index(message.into())
    }

    /// The message without its kind.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Value(m)
            | Self::Type(m)
            | Self::State(m)
            | Self::Index(m)
            | Self::ZeroDivision(m)
            | Self::Memory(m) => m,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
