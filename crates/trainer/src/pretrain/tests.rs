//! However an update is cut, it is the same update.
