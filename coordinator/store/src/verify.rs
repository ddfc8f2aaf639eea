//! A check of everything that is stored, whether a start needs it or not: each block of each file is read with its
//! checksum, and each key is found again.

use rocksdb::{IteratorMode, ReadOptions};

use crate::meta;
use crate::store::Store;

/// What a check of the files came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Keys of the log, the rows and what describes them.
    pub keys: u64,
    /// What is wrong; the words of RocksDB name the file and the place in it.
    pub faults: Vec<String>,
}

impl Store {
    /// Reads everything. Call it before writing.
    pub fn verify(&self) -> Verified {
        let mut verified = Verified { keys: 0, faults: Vec::new() };
        for name in [meta::LOG, meta::ROWS, meta::META] {
            if let Err(fault) = self.verify_family(name, &mut verified.keys) {
                verified.faults.push(format!("{name}: {fault}"));
            }
        }
        verified
    }

    /// The first fault ends it: behind it RocksDB has nothing to say.
    fn verify_family(&self, name: &str, keys: &mut u64) -> Result<(), String> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        let (db, family) = (&self.inner.db, self.cf(name));
        for item in db.iterator_cf_opt(&family, options, IteratorMode::Start) {
            let (key, _) = item.map_err(|error| error.to_string())?;
            *keys += 1;
            // The way of a query: through the filters, which an iterator does not ask.
            match db.get_pinned_cf(&family, &key) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(format!("the key `{}` is not found by its filter", key.escape_ascii()));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}
