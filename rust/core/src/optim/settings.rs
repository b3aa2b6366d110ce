//! Settings of a rule, read by number, name and type from the caller's storage.

/// Storage of the settings of a parameter group. An index is that of the name in `Kind::settings`.
pub trait Source {
    /// Error of a setting that is missing or of another type.
    type Error;

    /// A real number.
    fn number(&self, index: usize) -> Result<f64, Self::Error>;

    /// A pair of real numbers.
    fn pair(&self, index: usize) -> Result<(f64, f64), Self::Error>;

    /// A truth value.
    fn flag(&self, index: usize) -> Result<bool, Self::Error>;
}

/// The type of a setting.
pub trait Setting: Sized {
    /// Setting `index` of a source.
    fn read<S: Source>(source: &S, index: usize) -> Result<Self, S::Error>;
}

macro_rules! setting {
    ($($type:ty, $read:ident);+) => {$(
        impl Setting for $type {
            #[inline(always)]
            fn read<S: Source>(source: &S, index: usize) -> Result<Self, S::Error> {
                source.$read(index)
            }
        }
    )+};
}
setting!(f64, number; (f64, f64), pair; bool, flag);

/// In `impl Settings`: the settings by name, which are the fields of the struct, all of them.
macro_rules! fields {
    ($($name:ident),+ $(,)?) => {
        const FIELDS: &'static [&'static str] = &[$(stringify!($name)),+];

        #[inline(always)]
        fn read<S: $crate::optim::Source>(source: &S) -> std::result::Result<Self, S::Error> {
            let mut index = 0;
            let mut next = || {
                index += 1;
                index - 1
            };
            Ok(Self { $($name: $crate::optim::Setting::read(source, next())?),+ })
        }
    };
}
