//! The metadata server: public TUF roles only, cannot sign.
