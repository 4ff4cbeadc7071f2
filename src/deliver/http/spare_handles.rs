//! Handles for what a request can do without.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handles beyond those that a request has a right to.
#[derive(Debug, Clone)]
pub(super) struct SpareHandles {
    handles: Arc<Semaphore>,
    /// Free handles below which none is given.
    kept: usize,
}

impl SpareHandles {
    pub(super) fn new(handles: Arc<Semaphore>, kept: usize) -> Self {
        Self { handles, kept }
    }

    /// Acquires a handle, if more than enough are free.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        if self.handles.available_permits() < self.kept {
            return None;
        }
        Arc::clone(&self.handles).try_acquire_owned().ok()
    }
}
