//! Values that many records share, each under a small number.

use crate::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
struct Shared<T> {
    value: Arc<T>,
    holders: u32,
}

/// Values by number. A value without holders is dropped, and its number is reused.
#[derive(Debug)]
pub(crate) struct Interned<T> {
    /// The numbers, by the values' addresses.
    numbers: HashMap<usize, u32>,
    values: Vec<Option<Shared<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Interned<T> {
        Interned { numbers: HashMap::default(), values: Vec::new(), free: Vec::new() }
    }
}

fn address<T>(value: &Arc<T>) -> usize {
    Arc::as_ptr(value).addr()
}

impl<T> Interned<T> {
    /// The number of a value; counts one more holder.
    pub(crate) fn hold(&mut self, value: &Arc<T>) -> u32 {
        let known = self.numbers.get(&address(value)).copied();
        if let Some(number) = known
            && let Some(Some(shared)) = self.values.get_mut(number as usize)
        {
            shared.holders += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or(self.values.len() as u32);
        let shared = Some(Shared { value: Arc::clone(value), holders: 1 });
        match self.values.get_mut(number as usize) {
            Some(place) => *place = shared,
            None => self.values.push(shared),
        }
        self.numbers.insert(address(value), number);
        number
    }

    /// The value of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Arc<T>> {
        self.values.get(number as usize)?.as_ref().map(|shared| &shared.value)
    }

    /// Counts one holder less.
    pub(crate) fn release(&mut self, number: u32) {
        let Some(place) = self.values.get_mut(number as usize) else { return };
        let Some(shared) = place else { return };
        shared.holders -= 1;
        if shared.holders == 0 {
            self.numbers.remove(&address(&shared.value));
            *place = None;
            self.free.push(number);
        }
    }
    /// True when there are no values.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_as_long_as_somebody_holds_it() {
        let mut values = Interned::default();
        let (one, two) = (Arc::new("one"), Arc::new("two"));
        let numbers = [values.hold(&one), values.hold(&two), values.hold(&one)];
        assert_eq!(numbers, [0, 1, 0]);
        values.release(0);
        assert_eq!(values.get(0), Some(&one));
        values.release(0);
        assert_eq!((values.get(0), Arc::strong_count(&one), values.numbers.len()), (None, 1, 1));
        assert_eq!(values.hold(&Arc::new("three")), 0, "its number is free");
        values.release(1);
        values.release(0);
        assert!(values.is_empty());
    }
}
