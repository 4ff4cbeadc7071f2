use std::collections::HashMap;

use super::*;
use proptest::prelude::*;

/// A hash, and a second that is not part of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen(u64, u32);

impl Entry for Seen {
    const EMPTY: Self = Self(0, 0);

    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn hash(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Clone)]
enum Step {
    See(u64, u32),
    Sweep(usize, u32),
}

fn step() -> impl Strategy<Value = Step> {
    // Few homes, so that runs grow long and wrap around the end.
    let hash = prop_oneof![
        (1_u64..40).prop_map(|low| low << 58),
        (0_u64..6).prop_map(|low| u64::MAX - low),
        1_u64..6,
    ];
    prop_oneof![
        8 => (hash, 0_u32..100).prop_map(|(hash, second)| Step::See(hash, second)),
        1 => (0_usize..200, 0_u32..100).prop_map(|(budget, oldest)| Step::Sweep(budget, oldest)),
    ]
}

proptest! {
    #[test]
    fn holds_what_a_map_holds(steps in proptest::collection::vec(step(), 0..300)) {
        let mut table = Table::default();
        let mut model = HashMap::<u64, u32>::new();
        let mut cursor = 0;
        for step in steps {
            match step {
                Step::See(hash, second) => {
                    match table.get_mut(hash) {
                        Some(Seen(_, known)) => *known = second,
                        None => table.insert(Seen(hash, second)),
                    }
                    model.insert(hash, second);
                }
                Step::Sweep(budget, oldest) => {
                    cursor = table.sweep(cursor, budget, |seen| seen.1 >= oldest);
                    model.retain(|hash, second| *second >= oldest || table.get(*hash).is_some());
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for (hash, second) in &model {
                prop_assert_eq!(table.get(*hash), Some(&Seen(*hash, *second)));
            }
        }
        table.sweep(cursor, usize::MAX, |seen| seen.1 >= 50);
        model.retain(|_, second| *second >= 50);
        prop_assert_eq!(table.iter().count(), model.len());
    }
}
