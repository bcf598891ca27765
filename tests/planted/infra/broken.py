from horae import job

import no_such_module_anywhere  # HR701


@job()
def broken() -> None: ...
