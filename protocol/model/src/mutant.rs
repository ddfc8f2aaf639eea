//! Defects that can be switched on, so that the tests that must find them are themselves tested.
//!
//! Compiled only with the feature `mutants`, which no binary of the product enables. A crate names its own with [`mutants!`]; one
//! at a time is set, for one thread.

use std::cell::Cell;

thread_local! {
    static SET: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Switches a defect on for this thread, by its name, or all off.
pub fn set(name: Option<&'static str>) {
    SET.set(name);
}

/// Whether the defect of this name is on.
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
