//! The file that a configuration was read from.

use std::fmt;
use std::path::PathBuf;

/// Path of the file, if there was one.
#[derive(Clone, Default)]
pub struct ConfigFile(pub(super) Option<PathBuf>);

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two configurations are compared by their `Debug`, and their place is no part of them.
        f.write_str("ConfigFile")
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str("none"),
        }
    }
}
