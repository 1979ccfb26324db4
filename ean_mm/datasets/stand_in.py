"""Stand in for a data set without hiding anything of it from its host."""

from typing import Any, Dict, Tuple


class DatasetStandIn:
    """A data set around another one, of which hosts notice nothing.

    mmengine, mmpretrain, mmdet and mmseg read and set attributes of a data loader's
    data set: hooks switch its ``pipeline``, samplers read ``get_cat_ids`` and
    ``datasets``, loops ``metainfo``. What is set on a stand-in, and what is read of it,
    is the inner data set's, and ``isinstance`` holds for the inner one's class.

    A subclass has what it defines in its class body and annotates there, as
    ``indices: List[int]``; all else goes to the inner data set.

    Args:
        dataset: The inner data set.
    """

    dataset: Any

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self.dataset.__class__ if 'dataset' in vars(self) else type(self)

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling ask for special methods before there is a data set.
        special = name.startswith('__') and name.endswith('__')
        if special or 'dataset' not in vars(self):
            raise AttributeError(f'{type(self).__name__} has no {name}')
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_own(type(self), name):
            object.__setattr__(self, name, value)
        else:
            setattr(self.dataset, name, value)

    def __delattr__(self, name: str) -> None:
        if _is_own(type(self), name):
            object.__delattr__(self, name)
        else:
            delattr(self.dataset, name)

    def __reduce__(self) -> Tuple[Any, Tuple[type], Dict[str, Any]]:
        # The default is refused by pickle, for the class that __class__ names.
        return object.__new__, (type(self),), vars(self)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)


def _is_own(cls: type, name: str) -> bool:
    return any(
        name in vars(base) or name in vars(base).get('__annotations__', {})
        for base in cls.__mro__[:-1]
    )
