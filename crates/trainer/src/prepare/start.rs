//! From what a recipe names to the model that training starts from: shape, vocabulary, head.

use klang_corpus::Utterance;
use klang_text::{Normaliser, Units, Vocabulary};
use klang_wav2vec2::checkpoint::{Checkpoint, Head};

use super::origin::Origin;
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::model::{ModelSource, ModelSpec};
use crate::recipe::Recipe;

/// What training starts from.
#[derive(Debug)]
pub(super) struct Start {
    /// Where the model comes from, with its weights.
    pub(super) origin: Origin,
    /// What becomes of the checkpoint's head.
    pub(super) head: Head,
    vocabulary: Vocabulary,
}

impl Start {
    /// Finds the checkpoint and settles its vocabulary with the training text's, with notes for whoever watches.
    pub(super) fn new(
        recipe: &Recipe,
        train: &[Utterance],
        normaliser: &Normaliser,
        observer: &mut dyn Observer,
    ) -> Result<(Start, Vec<String>)> {
        let texts: Vec<String> =
            train.iter().filter_map(|utterance| Some(normaliser.apply(utterance.text.as_deref()?))).collect();
        let vocabulary = Vocabulary::of_units(recipe.text.units, texts.iter().map(String::as_str))?;
        let origin = Origin::find(&recipe.model, observer)?;
        let (vocabulary, head, notes) = match &origin.checkpoint {
            Some((source, checkpoint)) => settle(recipe, source, checkpoint, &texts, vocabulary)?,
            None => (vocabulary, Head::Fresh, Vec::new()),
        };
        Ok((Start { origin, head, vocabulary }, notes))
    }

    /// The model that a recipe makes of it.
    pub(super) fn spec(&self, recipe: &Recipe) -> Result<ModelSpec> {
        Ok(ModelSpec {
            config: self.origin.shape(recipe)?,
            vocabulary: self.vocabulary.clone(),
            audio: self.origin.audio,
            text: recipe.text.clone(),
            bottleneck: recipe.model.bottleneck.map(|bottleneck| bottleneck.width),
        })
    }
}

/// Whether the checkpoint's vocabulary and head are kept, or `new` takes their place.
fn settle(
    recipe: &Recipe,
    source: &ModelSource,
    checkpoint: &Checkpoint,
    texts: &[String],
    new: Vocabulary,
) -> Result<(Vocabulary, Head, Vec<String>)> {
    let keep = recipe.model.keep_head;
    let refuse =
        |allowed: String| Err(Error::RecipeValue { key: "model.keep_head".into(), given: "true".into(), allowed });
    let replaced = |new: Vocabulary, why: String| {
        let note = format!("vocabulary: new, {} tokens from training text; the head starts afresh{why}", new.len());
        Ok((new, Head::Fresh, vec![note]))
    };
    if checkpoint.head_rows().is_none() || !source.path.join("vocab.json").is_file() {
        if keep == Some(true) {
            return refuse(format!("false, or absent: {} has no head with a vocabulary", source.name));
        }
        return replaced(new, "; the checkpoint has none with a vocabulary".into());
    }
    let old = match ModelSpec::read(source, checkpoint) {
        Ok(old) => old,
        // What is to be replaced need not be sound, nor has a language been named whose it should be.
        Err(error) if keep != Some(true) => return replaced(new, format!("; the checkpoint's is not used: {error}")),
        Err(error) => return Err(error),
    };
    let difference = old.vocabulary.difference(&new);
    if keep == Some(false) {
        return replaced(new, format!("; {difference}"));
    }
    if recipe.model.bottleneck.is_some() {
        return replaced(new, "; behind a bottleneck it is another".into());
    }
    let lacking = match recipe.text.units {
        // A word that is spelt from shorter ones is another word.
        Units::Words => !difference.new.is_empty(),
        Units::Characters => !old.vocabulary.out_of_vocabulary(texts.iter().map(String::as_str)).is_empty(),
    };
    let same_units = old.text.units == recipe.text.units;
    // Its own vocabulary serves when it has everything that training text needs: the head then keeps what it knows.
    if same_units && !lacking {
        let note = format!("vocabulary and head: the checkpoint's, {} tokens", old.vocabulary.len());
        return Ok((old.vocabulary, Head::Load, vec![note]));
    }
    if keep == Some(true) {
        return refuse(if same_units {
            format!(
                "true where the checkpoint's vocabulary has all that training text needs, which it has not: {difference}"
            )
        } else {
            format!("true where text.units is the checkpoint's: {:?}, not {:?}", old.text.units, recipe.text.units)
        });
    }
    replaced(new, format!("; {difference}"))
}
