//! What is asked of the inventory: which keys, which page of them.

use super::key::{KeyKind, State};
use super::text::{Invalid, NamePart};

/// Which keys of a key store are listed; all of them where nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyFilter {
    /// Of this kind.
    pub kind: Option<KeyKind>,
    /// With this in their names.
    pub name: Option<NamePart>,
    /// In this state.
    pub state: Option<State>,
}

/// A page of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    number: u32,
    size: u32,
}

impl Page {
    /// The fewest entries of a page, and as many as it has where nobody says.
    pub const SIZE_MIN: u32 = 10;
    /// The most entries of a page.
    pub const SIZE_MAX: u32 = 100;
    /// The last page that can be asked for.
    pub const NUMBER_MAX: u32 = 0x7fff_ffff;

    /// Page `number`, from 1, of pages of `size` entries; the first, and 10, where they are `None`.
    pub fn new(number: Option<i64>, size: Option<i64>) -> Result<Self, Invalid> {
        let within = |field, value: Option<i64>, least: u32, most: u32| match value {
            None => Ok(least),
            Some(value) => {
                let fits = u32::try_from(value).ok().filter(|value| (least..=most).contains(value));
                fits.ok_or_else(|| Invalid::new(field, format!("must be {least} to {most}")))
            }
        };
        Ok(Self { number: within("pageNumber", number, 1, Self::NUMBER_MAX)?, size: within("pageSize", size, Self::SIZE_MIN, Self::SIZE_MAX)? })
    }

    /// How many entries come before it.
    pub fn offset(self) -> i64 {
        (i64::from(self.number) - 1) * i64::from(self.size)
    }

    /// How many entries it has at most.
    pub fn limit(self) -> i64 {
        i64::from(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_one_and_have_10_to_100_entries() {
        let page = |number, size| Page::new(number, size).map(|page| (page.offset(), page.limit())).map_err(|invalid| invalid.to_string());
        assert_eq!(page(None, None), Ok((0, 10)));
        assert_eq!(page(Some(3), Some(100)), Ok((200, 100)));
        assert_eq!(page(Some(i64::from(Page::NUMBER_MAX)), Some(100)), Ok((214_748_364_600, 100)));
        for wrong in [0, -1, i64::MIN, i64::MAX, i64::from(Page::NUMBER_MAX) + 1] {
            assert_eq!(page(Some(wrong), None), Err("pageNumber must be 1 to 2147483647".to_owned()), "{wrong}");
        }
        for wrong in [9, 101, 0, -10, i64::MAX] {
            assert_eq!(page(None, Some(wrong)), Err("pageSize must be 10 to 100".to_owned()), "{wrong}");
        }
    }
}
