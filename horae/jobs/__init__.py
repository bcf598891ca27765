"""The declaration of a job: `@job`, policies, traits, arguments and the context of a run."""
