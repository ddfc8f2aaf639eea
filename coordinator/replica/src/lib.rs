//! See DESIGN: filled in its own commit.
