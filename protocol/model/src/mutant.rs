//! Defects that can be switched on, so that the tests that must find them are themselves tested.
//!
//! They are compiled only with the feature `mutants`, which no binary of the product enables. A crate names its own with
//! [`crate::mutants!`] in a module `mutant` of its root, and asks with [`crate::mutant!`]; one at a time is set, for one thread.

#[cfg(feature = "mutants")]
use std::cell::Cell;

#[cfg(feature = "mutants")]
thread_local! {
    static SET: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Switches a defect on for this thread, by its name, or all off.
#[cfg(feature = "mutants")]
pub fn set(name: Option<&'static str>) {
    SET.set(name);
}

/// Whether the defect of this name is on.
#[cfg(feature = "mutants")]
pub fn is_set(name: &str) -> bool {
    SET.get() == Some(name)
}

/// Makes the enum `Mutant` of a crate, from its defects and their names.
#[macro_export]
macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A defect, named by what goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $variant,)*
        }

        impl Mutant {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As `--mutant` spells it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        /// Switches a defect on for this thread, or all off.
        pub fn set(mutant: Option<Mutant>) {
            $crate::mutant::set(mutant.map(Mutant::as_str));
        }

        /// Whether a defect is on.
        pub(crate) fn is(mutant: Mutant) -> bool {
            $crate::mutant::is_set(mutant.as_str())
        }
    };
}

/// Whether a defect of the calling crate is on; never where it is built without its feature `mutants`.
#[macro_export]
#[allow(clippy::crate_in_macro_def, reason = "the defects are those of the crate that asks")]
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        let is_on = crate::mutant::is(crate::mutant::Mutant::$name);
        #[cfg(not(feature = "mutants"))]
        let is_on = false;
        is_on
    }};
}
