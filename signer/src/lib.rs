//! The isolated signer: holds the online keys and does not believe the server.
