"""Built-in records of published data sets: dicts with the keys of a dataset.toml.

Every script imports this package before TensorFlow, so it needs the standard library only.
"""

from datasets.catalogue.demo import DEMO
from datasets.catalogue.dfc2018 import DFC2018
from datasets.catalogue.dfc2019 import DFC2019
from datasets.catalogue.dfc2023 import DFC2023
from datasets.catalogue.dublin import DUBLIN
from datasets.catalogue.entries import Entry
from datasets.catalogue.huawei import HUAWEI
from datasets.catalogue.ssbh import SSBH
from datasets.catalogue.vaihingen import VAIHINGEN

CATALOGUE: dict[str, Entry] = (
    DEMO | VAIHINGEN | DFC2018 | DFC2019 | DFC2023 | DUBLIN | SSBH | HUAWEI
)
